"""How does each endpoint of yclients-api §3 answer?"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import answers, odd, rows, visits
from .answers import Answer
from .bookings import RecordFilter
from .options import NARROW, Options
from .rows import DAY, Payload
from .salon import Salon, encode
from .world import World

_RECORDS_PAGE = 50
_CLIENTS_PAGE = 20
_SEARCH_PAGE = 25
_COMPANIES_PAGE = 20
_GOODS_PAGE = 25
_LEDGER_PAGE = 25
_FIELDS = (
    "id", "name", "phone", "email", "discount",
    "first_visit_date", "last_visit_date", "sold_amount", "visits_count",
)  # fmt: skip


class Refused(Exception):
    """An endpoint refuses; `answer` says how."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart. `query` has all values of each key; `numbers` are the path's ids in order."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: str
    numbers: tuple[int, ...]
    language: str = ""  # the header Accept-Language

    def first(self, key: str) -> str | None:
        values = self.query.get(key)
        return values[0] if values and values[0] != "" else None

    def integer(self, key: str) -> int | None:
        text = self.first(key)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise _invalid(key, "должно быть целым числом") from None

    def flag(self, key: str) -> bool:
        return self.first(key) in ("1", "true")

    def all(self, key: str) -> list[str]:
        """Values of key[], key[0], key[1]…, or key."""
        return [
            value
            for name, values in self.query.items()
            if name == key or (name.startswith(f"{key}[") and name.endswith("]"))
            for value in values
        ]

    def json(self) -> Payload:
        try:
            value = json.loads(self.body or "{}")
        except ValueError:
            raise Refused(answers.refusal(400, "Тело запроса не является JSON")) from None
        if not isinstance(value, dict):
            raise Refused(answers.refusal(400, "Тело запроса должно быть объектом"))
        return value


def _invalid(key: str, why: str) -> Refused:
    return Refused(answers.refusal(422, "Произошла ошибка", errors={key: [f"{key}: {why}"]}))


def _page(page: int | None, count: int | None, default: int, cap: int) -> tuple[int, int, int]:
    """Page number from 1, first and last place. More than the cap is silently the cap."""
    number = max(page or 1, 1)
    size = min(count if count is not None and count > 0 else default, cap)
    return number, (number - 1) * size, number * size


class Endpoints:
    """Answers from the world as it is at the moment of the call."""

    def __init__(self, world: World, options: Options, now: Callable[[], float]) -> None:
        self._world = world
        self._options = options
        self._now = now
        self._ties = random.Random(f"{options.seed}/ties")
        number = r"(\d+)"
        table: tuple[tuple[str, str, str, Callable[[Call], Answer]], ...] = (
            ("POST", "/auth", "auth", self._auth),
            ("GET", "/companies", "companies", self._companies),
            ("GET", "/groups", "groups", self._groups),
            ("GET", f"/company/{number}", "company", self._company),
            ("GET", f"/company/{number}/services", "services", self._services),
            ("GET", f"/company/{number}/service_categories", "service_categories", self._categories),
            ("GET", f"/company/{number}/staff", "staff", self._staff),
            ("GET", f"/staff/{number}", "staff (second path)", self._second(self._staff)),
            ("GET", f"/services/{number}", "services (second path)", self._second(self._services)),
            ("POST", f"/company/{number}/clients/search", "clients/search", self._search),
            ("POST", f"/company/{number}/clients/visits/search", "visits/search", self._visits),
            ("GET", f"/clients/{number}", "clients", self._clients),
            ("GET", f"/client/{number}/{number}", "client", self._client),
            ("GET", f"/records/{number}", "records", self._records),
            ("GET", f"/record/{number}/{number}", "record", self._record),
            ("GET", f"/goods/{number}", "goods", self._ledger("goods", _GOODS_PAGE)),
            ("GET", f"/storages/transactions/{number}", "goods_operations", self._ledger("operations", _LEDGER_PAGE)),
            ("GET", f"/transactions/{number}", "transactions", self._ledger("transactions", _LEDGER_PAGE)),
            ("GET", f"/company/{number}/staff/schedule", "schedules", self._schedule),
            ("GET", f"/hooks_settings/{number}", "hooks_settings", self._hooks),
            ("POST", f"/hooks_settings/{number}", "hooks_settings", self._set_hooks),
        )
        self._table = [(method, re.compile(path + "/?"), name, handler) for method, path, name, handler in table]

    def change(self, options: Options) -> None:
        """From the next call on."""
        self._options = options

    def find(self, method: str, path: str) -> tuple[str, tuple[int, ...], Callable[[Call], Answer]]:
        """The endpoint's name, the ids in its path, and what answers it."""
        for known_method, pattern, name, handler in self._table:
            found = pattern.fullmatch(path)
            if found and known_method == method:
                return name, tuple(int(text) for text in found.groups()), handler
        return "unknown", (), self._unknown

    def _unknown(self, call: Call) -> Answer:
        return answers.refusal(404, answers.NOT_FOUND)

    def _salon(self, call: Call, *, search: bool = False) -> Salon:
        company_id = call.numbers[0]
        errors_form = call.path.startswith("/company/")
        salon = self._world.salons.get(company_id)
        if salon is None:
            raise Refused(answers.refusal(404, answers.NO_COMPANY, errors_form=errors_form))
        if company_id not in self._world.allowed:
            raise Refused(answers.refusal(403, answers.NOT_MANAGED, errors_form=errors_form))
        match salon.deny:
            case "401":
                raise Refused(answers.refusal(401, answers.BAD_USER))
            case "402":
                raise Refused(answers.licence(company_id, search=search))
            case "403":
                raise Refused(answers.refusal(403, answers.NO_RIGHTS, errors_form=errors_form))
        if salon.refuses and self.find(call.method, call.path)[0] in salon.refuses:
            words = answers.NO_RIGHTS if self._options.refused_as == "right" else answers.NOT_MANAGED
            raise Refused(answers.refusal(403, words, errors_form=errors_form))
        return salon

    # -- account, companies, lists ----------------------------------------------------------------------

    def _auth(self, call: Call) -> Answer:
        body = call.json()
        if not body.get("login") or not body.get("password") or self._options.wrong_login:
            status = 200 if self._options.wrong_login == "200" else 401
            return answers.refusal(status, "Неверный логин или пароль")
        if self._options.two_factor:
            step = {"uuid": "00000000-0000-4000-8000-000000000001", "flow": "sms", "transport": "sms"}
            return answers.single(step)
        token = self._options.user_token or "simulated-user-token"
        account = {"id": 501, "user_token": token, "name": "Администратор", "login": str(body["login"])}
        return answers.single(account, status=201)

    def _companies(self, call: Call) -> Answer:
        ids = sorted(self._world.allowed & set(self._world.salons) if call.flag("my") else self._world.salons)
        _, begin, end = _page(call.integer("page"), call.integer("count"), _COMPANIES_PAGE, self._options.clients_cap)
        found = [dict(self._world.salons[company_id].company) for company_id in ids[begin:end]]
        if self._options.odd:
            found = [odd.odd_company(company) for company in found]
        return answers.listing((encode(company) for company in found), [])

    def _groups(self, call: Call) -> Answer:
        companies = [
            {"id": company_id, "title": self._world.salons[company_id].company["title"]}
            for company_id in sorted(self._world.allowed & set(self._world.salons))
        ]
        return answers.single([{"id": 77, "title": "Сеть", "companies": companies}])

    def _company(self, call: Call) -> Answer:
        return answers.single(self._salon(call).company)

    def _list(self, found: Mapping[int, Payload], dress: Callable[[Payload], Payload] | None) -> Answer:
        many = [dict(payload) for payload in found.values()]
        if dress is not None and self._options.odd:
            many = [dress(payload) for payload in many]
        if not many and self._says_none():
            return self._none()
        return answers.listing((encode(payload) for payload in many), {"total_count": len(many)})

    def _services(self, call: Call) -> Answer:
        return self._list(self._salon(call).services, odd.odd_service)

    def _categories(self, call: Call) -> Answer:
        return self._list(self._salon(call).service_categories, None)

    def _staff(self, call: Call) -> Answer:
        return self._list(self._salon(call).staff, odd.odd_staff)

    def _second(self, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        """A second path to a list, with a right of its own."""
        return lambda call: handler(call) if self._options.second_paths else self._unknown(call)

    def _hooks(self, call: Call) -> Answer:
        return answers.single(self._salon(call).hooks)

    def _set_hooks(self, call: Call) -> Answer:
        salon = self._salon(call)
        body = call.json()
        urls = body.get("urls") or []
        if not isinstance(urls, list) or len(urls) > 10:
            raise _invalid("urls", "не больше 10 адресов")
        salon.hooks = {"active": 0, "self_sending": 0, **body, "urls": urls}  # what is left out is lost
        return answers.single(salon.hooks, status=201)

    # -- clients ----------------------------------------------------------------------------------------

    def _clients(self, call: Call) -> Answer:
        salon = self._salon(call)
        self._bear(call)
        page, begin, end = _page(call.integer("page"), call.integer("count"), _CLIENTS_PAGE, self._options.clients_cap)
        first, last = self._changed(call, salon)
        ids = salon.client_ids() if first is None and last is None else salon.changed_client_ids(first, last)
        wanted = {int(text) for text in call.all("id") if text.isdigit()}
        if wanted:
            named = [client_id for client_id in ids if client_id in wanted]
            ids = named or ids  # an id[] filter that matches nobody is dropped (yclients-api §3)
        phone, name = call.first("phone"), call.first("fullname")
        if phone or name:
            ids = [one for one in ids if _is_person(salon.clients[one], phone, name)]
        if not ids[begin:end] and self._says_none():
            return self._none()
        meta = {"page": page, "total_count": len(ids)}
        return answers.listing((salon.encoded_client(one) for one in ids[begin:end]), meta)

    def _client(self, call: Call) -> Answer:
        salon = self._salon(call)
        if call.numbers[1] not in salon.clients:
            return answers.refusal(404, answers.NOT_FOUND)
        return answers.single(salon.served_client(call.numbers[1]))

    def _search(self, call: Call) -> Answer:
        salon = self._salon(call, search=True)
        body = call.json()
        _, begin, end = _page(_whole(body, "page"), _whole(body, "page_size"), _SEARCH_PAGE, self._options.search_cap)
        fields = body.get("fields") or ["id"]
        unknown = [field for field in fields if field not in _FIELDS]
        if unknown:
            raise _invalid("fields", f"неизвестное поле {unknown[0]}")
        ids = self._filtered(salon, body.get("filters") or [], str(body.get("operation") or "AND").upper())
        order = body.get("order_by") or "id"
        if order not in _FIELDS:
            raise _invalid("order_by", f"неизвестное поле {order}")
        backwards = str(body.get("order_by_direction") or "asc").lower() == "desc"
        if order == "id":
            ids = ids[::-1] if backwards else ids
        else:
            keys = {one: str(self._found(salon, one)[order] or "") for one in ids}
            if order in ("sold_amount", "visits_count", "discount"):
                ids = sorted(ids, key=lambda one: float(keys[one] or 0), reverse=backwards)
            else:
                ids = sorted(ids, key=keys.__getitem__, reverse=backwards)
        found = []
        for client_id in ids[begin:end]:
            row = self._found(salon, client_id)
            found.append(encode({field: row[field] for field in fields}))
        return answers.listing(found, {"total_count": len(ids)})

    def _filtered(self, salon: Salon, filters: list[Payload], operation: str) -> list[int]:
        sets: list[set[int]] = []
        for one in filters:
            kind, state = one.get("type"), one.get("state") or {}
            value = state.get("value") if isinstance(state, dict) else None
            if kind == "id" and isinstance(value, list):
                sets.append({int(text) for text in value} & set(salon.client_ids()))
            elif kind == "quick_search":
                text = str(value or "")
                sets.append(
                    {
                        client_id
                        for client_id, card in salon.clients.items()
                        if text.lower() in f"{card.get('display_name')} {card.get('phone')}".lower()
                    }
                )
            else:
                problem = {"filters": [f"Неизвестный фильтр {kind}"]}
                raise Refused(answers.refusal(400, "Произошла ошибка", errors=problem))
        if not sets:
            return list(salon.client_ids())
        chosen = set.union(*sets) if operation == "OR" else set.intersection(*sets)
        return sorted(chosen)

    def _found(self, salon: Salon, client_id: int) -> Payload:
        """A client as clients/search shows it: numbers as strings when types are odd."""
        card = salon.served_client(client_id)
        came = [row.start for row in salon.bookings.of_client(client_id) if row.attendance == 1]
        visits_count, sold = card.get("visits", 0), card.get("spent", 0)
        strings = self._options.odd and rows.mix(client_id, 25) & 1
        return {
            "id": int(card["id"]),
            "name": card.get("name", ""),
            "phone": card.get("phone", ""),
            "email": card.get("email", ""),
            "discount": card.get("discount", 0),
            "first_visit_date": rows.local_text(min(came)) if came else None,
            "last_visit_date": rows.local_text(max(came)) if came else None,
            "sold_amount": f"{float(sold or 0):.2f}" if strings else sold,
            "visits_count": str(visits_count) if strings else visits_count,
        }

    def _visits(self, call: Call) -> Answer:
        salon = self._salon(call)
        body = call.json()
        needed = ("client_id", "client_phone", "from", "to", "payment_statuses", "attendance")
        missing = {key: [f"{key}: обязательное поле"] for key in needed if key not in body}
        if missing:
            return answers.refusal(422, "Произошла ошибка", errors=missing)
        try:
            data, meta = visits.search(salon, body)
        except (ValueError, TypeError):
            raise _invalid("client_id", "неверное значение") from None
        return answers.single(data, meta)

    # -- records ----------------------------------------------------------------------------------------

    def _records(self, call: Call) -> Answer:
        salon = self._salon(call)
        self._bear(call)
        page, begin, end = _page(call.integer("page"), call.integer("count"), _RECORDS_PAGE, self._options.records_cap)
        first, last = self._changed(call, salon)
        first_day, last_day = self._days(call, salon, narrow=self._options.undated != "all")
        wanted = RecordFilter(
            client_id=call.integer("client_id"),
            staff_id=call.integer("staff_id"),
            first_day=first_day,
            last_day=last_day,
            created_first_day=_day(call, "c_start_date"),
            created_last_day=_day(call, "c_end_date"),
            changed_from=first,
            changed_to=last,
            with_deleted=call.flag("with_deleted"),
        )
        ids, total = salon.bookings.find(
            wanted,
            begin,
            end,
            tie_order=self._options.tie_order,
            descending=self._options.direction == "desc",
            rng=self._ties,
        )
        if not ids and self._says_none():
            return self._none()
        finance, consumables = call.flag("include_finance_transactions"), call.flag("include_consumables")
        found = (salon.encoded_record(one, finance=finance, consumables=consumables) for one in ids)
        return answers.listing(found, {"page": page, "total_count": total})

    def _record(self, call: Call) -> Answer:
        salon = self._salon(call)
        record_id = call.numbers[1]
        if record_id not in salon.records:
            row = salon.bookings.gone.get(record_id)
            if row is None or self._options.deleted_as_404:
                return answers.refusal(404, answers.NOT_FOUND)
            return answers.single({**rows.record_payload(row, None, salon.known), **(row.extra or {}), "deleted": True})
        finance, consumables = call.flag("include_finance_transactions"), call.flag("include_consumables")
        return answers.single(salon.served_record(record_id, finance=finance, consumables=consumables))

    # -- store, till, schedule --------------------------------------------------------------------------

    def _ledger(self, kind: str, default: int) -> Callable[[Call], Answer]:
        """A list without a count. More rows a page than the cap is silently the default (yclients-api §3, goods)."""

        def answer(call: Call) -> Answer:
            salon = self._salon(call)
            self._bear(call)
            count, cap = call.integer("count"), self._options.ledger_cap
            _, begin, end = _page(call.integer("page"), default if count is not None and count > cap else count, default, cap)
            narrow = kind != "goods" and self._options.undated == "narrow-lists"
            days = self._days(call, salon, narrow=narrow)
            # Payments cannot be asked for by what changed: the filter is not known there, and so not heard.
            changed = (None, None) if kind == "transactions" else self._changed(call, salon)
            found = salon.ledger.find(kind, days, changed, self._ties)[begin:end]
            if not found and self._says_none():
                return self._none()
            return answers.listing((encode(payload) for payload in found), [])

        return answer

    def _schedule(self, call: Call) -> Answer:
        salon = self._salon(call)
        first, last = _day(call, "start_date"), _day(call, "end_date")
        if first is None or last is None or last - first > self._options.schedule_days:
            raise _invalid("end_date", f"не больше {self._options.schedule_days} дней")
        wanted = {int(text) for text in call.all("staff_ids") if text.isdigit()}
        found = []
        for (staff_id, day), payload in sorted(salon.ledger.schedule.items()):
            if (not wanted or staff_id in wanted) and first <= rows.local_seconds(day) // DAY <= last:
                found.append(
                    {key: value for key, value in payload.items() if key != "staff_id" or self._options.schedule_names}
                )
        if not found and self._says_none():
            return self._none()
        return answers.listing((encode(payload) for payload in found), [])

    def _says_none(self) -> bool:
        return self._options.empty_as_404 or self._options.empty_as_200

    def _none(self) -> Answer:
        """An empty list as some endpoints answer it: 404, or `success: false` with 200."""
        return answers.refusal(404 if self._options.empty_as_404 else 200, answers.NOT_FOUND)

    def _days(self, call: Call, salon: Salon, *, narrow: bool) -> tuple[int | None, int | None]:
        """The first and last day asked for, since 1970; `narrow`: one that is left out is NARROW days from today."""
        first, last = _day(call, "start_date"), _day(call, "end_date")
        if not narrow:
            return first, last
        today = (salon.now() + salon.offset) // DAY
        return today - NARROW if first is None else first, today + NARROW if last is None else last

    def _bear(self, call: Call) -> None:
        """Some servers refuse a page that is too large instead of giving a smaller one."""
        count, most = call.integer("count"), self._options.count_refused
        if most and count is not None and count > most:
            errors = {"count": [f"count: не больше {most}"]}
            raise Refused(answers.refusal(self._options.refuse_with, "Произошла ошибка", errors=errors))

    def _changed(self, call: Call, salon: Salon) -> tuple[int | None, int | None]:
        """changed_after and changed_before as Unix seconds; both are inclusive unless the options differ."""
        if self._options.changed_ignored:
            return None, None
        first, last = (
            self._instant(call, "changed_after", salon),
            self._instant(call, "changed_before", salon),
        )
        if first is not None and not self._options.changed_inclusive:
            first += 1
        return first, last

    def _instant(self, call: Call, key: str, salon: Salon) -> int | None:
        text = call.first(key)
        if text is None:
            return None
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise _invalid(key, "неверная дата") from None
        if value.tzinfo is not None:
            return int(value.timestamp())
        return rows.local_seconds(value) - (salon.offset if self._options.changed_zone == "local" else 0)


def _day(call: Call, key: str) -> int | None:
    text = call.first(key)
    if text is None:
        return None
    try:
        return rows.local_seconds(text) // DAY
    except ValueError:
        raise _invalid(key, "неверная дата") from None


def _whole(body: Payload, key: str) -> int | None:
    value: Any = body.get(key)
    if value is None:
        return None
    try:
        return int(value)
    except (ValueError, TypeError):
        raise _invalid(key, "должно быть целым числом") from None


def _digits(text: Any) -> str:
    return "".join(letter for letter in str(text) if letter.isdigit())


def _is_person(card: Payload, phone: str | None, name: str | None) -> bool:
    return (not phone or _digits(phone) in _digits(card.get("phone"))) and (
        not name or name.lower() in f"{card.get('name')} {card.get('surname')} {card.get('patronymic')}".lower()
    )
