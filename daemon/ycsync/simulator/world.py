"""Which salons are there at the start, and what is in them?

Everything follows from the seed and from today's date on each salon's clock, not from the time of day: two
simulators started on one day with one seed are equal.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from . import catalogue, rows
from .lists import category_payload, service_payload, staff_payload
from .options import Options
from .rows import DAY, ClientRow, Payload, RecordRow
from .salon import Salon

_PAST_DAYS = 730
_FUTURE_DAYS = 30
# Monday to Sunday.
_WEEK = (0.9, 1.0, 1.0, 1.1, 1.35, 1.4, 0.35)
# The sample's figures, moved up to the edge of 32 bits, so that a salon's records lie on both sides of it.
_FIRST_RECORD = 2_147_483_000
_SALON_STEP = 10_000_000


class World:
    """The salons of one simulated YCLIENTS, and those that the user token may manage."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self.salons: dict[int, Salon] = {}
        for index in range(options.salons):
            salon = make_salon(options, index, clock)
            self.salons[salon.id] = salon
        self.allowed: set[int] = set(self.salons)


def make_salon(options: Options, index: int, clock: Callable[[], float]) -> Salon:
    """One salon, filled."""
    city, zone, hours = catalogue.ZONES[index % len(catalogue.ZONES)]
    offset = hours * 3600
    if options.zone is not None:
        zone = options.zone
        offset = int((datetime.now(ZoneInfo(zone)).utcoffset() or timedelta()).total_seconds())
    company_id = options.first_company + index
    title = catalogue.SALON_TITLES[index % len(catalogue.SALON_TITLES)]
    company: Payload = {
        "id": company_id,
        "title": title if index == 0 else f"{title} {index + 1}",
        "country_id": 7,
        "city": city,
        "address": "",
        "phone": f"7999{9_000_000 + index % 1_000_000:07d}",
        **_zone_told(options, zone, offset),
        "main_group_id": 77,
        "currency_short_title": "₽",
        "active": 1,
    }
    salon = Salon(company, offset, clock, options)
    salon.refuses.update(options.refused)
    rng = random.Random(f"{options.seed}/{index}")
    _make_lists(salon, options, index)
    clients = [ClientRow(id=70_001 + index * _SALON_STEP + n, n=n, changed=0) for n in range(1, options.clients + 1)]
    records = list(_make_records(salon, options, index, clients, rng))
    _finish_clients(salon, clients, records, rng)
    salon.load(
        clients,
        records,
        {
            "client": 70_002 + index * _SALON_STEP + options.clients,
            "n": options.clients + 1,
            "record": _FIRST_RECORD + index * _SALON_STEP + options.visits,
            "visit": 880_001 + index * _SALON_STEP + options.visits,
            "service": 301 + index * 1000 + len(catalogue.SERVICES),
            "staff": 901 + index * 1000 + _staff_count(options),
        },
    )
    return salon


def _zone_told(options: Options, zone: str, offset: int) -> Payload:
    sign = rows.instant_text(0, offset)[-5:]
    told: dict[str, Payload] = {
        "name": {"timezone": rows.hours_east(offset), "timezone_name": zone},
        "hours": {"timezone": rows.hours_east(offset)},
        "offset": {"timezone": f"{sign[:3]}:{sign[3:]}"},
        "words": {"timezone": f"{zone.rsplit('/', 1)[-1]} Standard Time", "timezone_name": ""},
        "none": {},
    }
    return told[options.zone_told]


def _staff_count(options: Options) -> int:
    # A member of staff sees about five clients a day.
    return max(3, min(300, options.visits // (_PAST_DAYS * 5) + 3))


def _make_lists(salon: Salon, options: Options, index: int) -> None:
    count = _staff_count(options)
    for place in range(count):
        staff_id = 901 + index * 1000 + place
        name = catalogue.STAFF_NAMES[place % len(catalogue.STAFF_NAMES)]
        name = name if place < len(catalogue.STAFF_NAMES) else f"{name} {place // len(catalogue.STAFF_NAMES) + 1}"
        title = catalogue.SPECIALIZATIONS[place % len(catalogue.SPECIALIZATIONS)]
        fired = place == count - 1
        salon.known_staff[staff_id] = staff_payload(staff_id, salon.id, name, title, fired=int(fired))
        if not fired or options.fired_listed:
            salon.staff[staff_id] = salon.known_staff[staff_id]
    staff_ids = list(salon.staff)
    for place, category_title in enumerate(catalogue.CATEGORIES):
        category_id = 30 + index * 1000 + place
        salon.service_categories[category_id] = category_payload(category_id, category_title, staff_ids)
    for place, (category, service_title, price, seconds) in enumerate(catalogue.SERVICES):
        service_id = 301 + index * 1000 + place
        salon.known_services[service_id] = (service_title, price, seconds)
        if place == 5:
            continue  # records go on naming a service that is no longer listed
        salon.services[service_id] = service_payload(
            service_id, service_title, 30 + index * 1000 + category, price, seconds, staff_ids[place % 2 :: 2]
        )


def _pick_days(today: int, count: int, rng: random.Random) -> list[int]:
    """Days of the records, ascending: the salon grew, Sundays are weak, and the near future is booked."""
    days = range(today - _PAST_DAYS, today + _FUTURE_DAYS + 1)
    weights = []
    for day in days:
        age = (day - today) / _PAST_DAYS
        level = 1.0 + 0.5 * age if day <= today else 0.9 * 0.87 ** (day - today)
        weights.append(level * _WEEK[(day + 3) % 7])  # day 0 was a Thursday
    picked = rng.choices(days, cum_weights=list(accumulate(weights)), k=count)
    if count:
        picked[0] = today
    picked.sort()
    return picked


def _make_records(
    salon: Salon, options: Options, index: int, clients: list[ClientRow], rng: random.Random
) -> Iterator[RecordRow]:
    today = (int(salon.now()) + salon.offset) // DAY
    midnight = today * DAY - salon.offset  # nothing is stamped later than this, whatever the time of day
    days = _pick_days(today, options.visits, rng)
    # A few regulars, many who came once or twice; who is a regular does not depend on the id.
    order = list(clients)
    rng.shuffle(order)
    regulars = list(accumulate((place + 3) ** -0.75 for place in range(len(order))))
    who = rng.choices(order, cum_weights=regulars, k=options.visits) if order else []
    staff_ids = list(salon.known_staff)  # records go on naming the fired
    combos = _combos(salon)
    group_service = ((301 + index * 1000 + catalogue.GROUP_SERVICE, 1, 0),)
    visit_id = 880_001 + index * _SALON_STEP
    activity = 5_000 + index * 10_000
    group_left = 0
    before: RecordRow | None = None
    for place, day in enumerate(days):
        chance = rng.random()
        client_id = who[place].id if who and rng.random() >= 0.04 else 0
        staff_id = staff_ids[int(rng.random() * len(staff_ids))]
        slot = (18 + int(rng.random() * 23)) * 1800  # 9:00 to 20:00
        start = day * DAY + slot
        services = combos[int(rng.random() * len(combos))]
        activity_id = 0
        if before is not None and group_left and before.start // DAY == day:
            group_left -= 1
            start, staff_id, activity_id = before.start, before.staff_id, before.activity_id
            services = group_service
            visit_id += 1
        elif before is not None and chance < 0.06 and before.client_id and before.start // DAY == day:
            # One visit, several records: the next master goes on where the first ends.
            client_id, start = before.client_id, before.start + before.length
        else:
            visit_id += 1
            group_left = 0
            if chance > 0.988:
                activity += 1
                group_left = 2 + int(rng.random() * 4)
                services, activity_id = group_service, activity
        length = sum(salon.known_services[sid][2] * amount for sid, amount, _ in services)
        deleted = rng.random() < options.deleted
        dice = rng.random()
        past = day < today
        attendance = (1 if dice < 0.86 else -1 if dice < 0.93 else 2 if dice < 0.96 else 0) if past else 2 if dice < 0.4 else 0
        if deleted and attendance == 1:
            attendance = 0
        begin = start - salon.offset
        created = begin - 600 - int(rng.expovariate(1 / (5 * DAY)))
        if past:
            late = rng.random()
            changed = begin + length + int(late * 7200) if late < 0.93 else begin + int(rng.random() * 20 * DAY)
        else:
            changed = created + int(rng.random() * DAY)
        created = min(created, midnight - 60 - int(dice * 14 * DAY)) if created > midnight - 60 else created
        changed = max(min(changed, midnight - int(dice * 3600)), created)
        paid = attendance == 1 and dice < 0.84
        record_id = _FIRST_RECORD + index * _SALON_STEP + place
        before = RecordRow(
            id=record_id,
            visit_id=visit_id,
            client_id=client_id,
            staff_id=staff_id,
            start=start,
            length=length,
            created=created,
            changed=changed,
            attendance=attendance,
            deleted=deleted,
            paid=paid,
            services=services,
            good=1 + int(chance * 1000) % len(catalogue.GOODS) if 0.5 < chance < 0.58 and attendance == 1 else 0,
            activity_id=activity_id,
            membership=paid and rows.mix(record_id, 31) % 10_000 < options.memberships * 10_000,
        )
        yield before


def _combos(salon: Salon) -> list[tuple[tuple[int, int, int], ...]]:
    """What people book, shared by all records: mostly one service, some several, twice or at a discount."""
    ids = list(salon.known_services)[:-1]
    combos: list[tuple[tuple[int, int, int], ...]] = []
    for place, one in enumerate(ids):
        other, third = ids[(place * 7 + 3) % len(ids)], ids[(place * 11 + 5) % len(ids)]
        combos += [((one, 1, 0),)] * 4
        combos.append(((one, 1, 10),))
        combos.append(((one, 1, 0), (other, 1, 5)))
        if place % 4 == 0:
            combos.append(((one, 2, 0),))
            combos.append(((one, 1, 15), (other, 1, 0), (third, 3, 0)))
    combos.append(())  # a record without services exists too
    return combos


def _finish_clients(salon: Salon, clients: list[ClientRow], records: list[RecordRow], rng: random.Random) -> None:
    today = (int(salon.now()) + salon.offset) // DAY
    midnight = today * DAY - salon.offset
    by_id = {client.id: client for client in clients}
    for record in records:
        client = by_id.get(record.client_id)
        if client is None or record.deleted or record.attendance != 1:
            continue
        client.visits += 1
        client.spent += rows.cost_of(record, salon.known)
        client.changed = max(client.changed, record.changed)
    for client in clients:
        quiet = midnight - int(rng.random() * _PAST_DAYS * DAY)
        client.changed = min(client.changed or quiet, midnight)
