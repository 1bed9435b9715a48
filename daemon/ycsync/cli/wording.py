"""How is what is judged said in words: for `status`, once, and for `status --watch`, again and again?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ycsync.cli.output import number, span
from ycsync.config import Settings
from ycsync.model.rights import lacking
from ycsync.service import standing as view
from ycsync.service.addresses import doubled
from ycsync.service.standing import PAUSE_S
from ycsync.store.report import Standing

TITLE_LENGTH = 28
MOST_SALONS = 10
MOST_ODD = 10
_SAYS_WHERE = re.compile(r"(salon \d+, )?[a-z_]+: ")


def heading(standing: Standing, judged: tuple[view.Judged, ...], settings: Settings) -> list[str]:
    """What holds for all salons."""
    usage, limits, preset = standing.usage, settings.yclients, settings.active
    return [
        f"preset    {settings.preset}: at most {min(preset.per_minute, limits.per_minute)} requests a minute, "
        f"{min(preset.per_second, limits.per_second)} a second",
        f"requests  {usage.minute} in the last minute (limit {limits.per_minute}), "
        f"{usage.second} in the last second (limit {limits.per_second})"
        + (f"; refused {usage.throttled} times so far" if usage.throttled else ""),
        *rate(standing),
        *waiting(standing),
        *_workers(standing, settings),
        *_own(settings),
        *_gone(standing, settings),
        *held(standing, judged),
    ]


def rate(standing: Standing) -> list[str]:
    """What YCLIENTS said of the limit within the last minute, and what others use of it."""
    usage, lines = standing.usage, []
    if usage.server_said_at is not None and standing.now - usage.server_said_at < view.SAID_LATELY:
        of = "" if usage.server_limit is None else f" of {number(usage.server_limit)}"
        left_s = 0.0 if usage.server_resets_at is None else (usage.server_resets_at - standing.now).total_seconds()
        more = f", more in {span(left_s)}" if left_s > 0 else ""
        lines.append(f"left      {number(usage.server_remaining or 0)}{of} requests a minute, says YCLIENTS{more}")
    if usage.others is not None:
        lines.append(
            f"SHARED    others send about {number(usage.others)} requests a minute out of this limit: "
            f"ycsync leaves them that, and sends at most {number(usage.leaves or 0)}"
        )
    return lines


def waiting(standing: Standing) -> list[str]:
    """That YCLIENTS asked for a wait, if it did."""
    if (until := standing.usage.blocked_until) is None:
        return []
    wait_s = (until - standing.now).total_seconds()
    return [f"waiting   YCLIENTS said too many requests: nothing is sent for another {span(wait_s)}"]


def _workers(standing: Standing, settings: Settings) -> list[str]:
    lines = []
    for worker in standing.workers:
        up = span((standing.now - worker.started_at).total_seconds())
        by = f", egress {worker.egress}" if worker.egress != settings.yclients.egress else ""
        lines.append(f"{worker.role:<8}  pid {worker.pid}, version {worker.version}, for {up}{by}")
        if worker.role == "service":
            lines.extend(f"          {told}" for told in about_service(worker.info, settings))
    if not any(worker.role == "service" for worker in standing.workers):
        lines.append("service   none is running: what follows ages until one does, or `ycsync sync` runs")
    return lines


def _own(settings: Settings) -> list[str]:
    """Which salons work with another preset."""
    by_preset: dict[str, list[int]] = {}
    for company, preset in settings.own_presets.items():
        by_preset.setdefault(preset, []).append(company)
    return [f"preset    {preset} for {_salons(companies)}" for preset, companies in by_preset.items()]


def _gone(standing: Standing, settings: Settings) -> list[str]:
    found = [salon.id for salon in view.gone(standing, settings)]
    return [f"gone      {_salons(found)}: not listed by YCLIENTS any more; what is stored stays"] if found else []


def _salons(companies: Sequence[int]) -> str:
    shown = ", ".join(map(str, companies[:MOST_SALONS]))
    return f"salon{'' if len(companies) == 1 else 's'} {shown}" + (
        f" and {number(len(companies) - MOST_SALONS)} more" if len(companies) > MOST_SALONS else ""
    )


def held(standing: Standing, judged: tuple[view.Judged, ...]) -> list[str]:
    """What somebody holds or must look at: addresses that are counted twice, pauses, and streams with rows in quarantine."""
    lines = [f"TOO FAST  {one.says}. {one.remedy}" for one in doubled(standing.workers, standing.sharing)]
    for company, since in standing.pauses.items():
        which = "all salons" if company == 0 else f"salon {company}"
        age = span((standing.now - since).total_seconds())
        if (reason := standing.reasons.get(company)) is not None:
            again = f"`ycsync resume --company {company}` asks it again"
            lines.append(f"PAUSED    {which}, in YCLIENTS {view.REASONS.get(reason, reason)}, for {age}; {again}")
            continue
        lines.append(f"PAUSED    {which}, for {age}; `ycsync resume` lets requests leave again")
    for company, since in standing.erased.items():
        lines.append(f"ERASED    salon {company}, on {since:%Y-%m-%d}: it is not read again until `ycsync db readmit`")
    for one in judged:
        if one.row.quarantined:
            rows = "row is" if one.row.quarantined == 1 else "rows are"
            lines.append(f"quarantine  {name(one)}, {one.row.stream}: {number(one.row.quarantined)} {rows} not in the table")
        if one.row.lacks_categories:
            lines.append(f"without   {name(one)}, service_categories: {lacking('service_categories')}")
    return [*lines, *_odd(judged)]


def _odd(judged: Sequence[view.Judged]) -> list[str]:
    """Values that could not be read, a line for each field over all salons."""
    rows: Counter[tuple[str, str]] = Counter()
    salons: Counter[tuple[str, str]] = Counter()
    for one in judged:
        for odd in one.row.odd:
            rows[one.row.stream, odd.field] += odd.rows
            salons[one.row.stream, odd.field] += 1
    return [
        f"unread    {stream}.{field} of {number(count)} row{'' if count == 1 else 's'}"
        + (f" in {number(salons[stream, field])} salons" if salons[stream, field] > 1 else "")
        + ": null in the table, `raw` keeps the value"
        for (stream, field), count in rows.most_common(MOST_ODD)
    ]


def about_service(info: dict[str, object], settings: Settings) -> list[str]:
    """What a service says of its settings that is not as the file says."""
    lines = []
    if (problem := view.reload_problem(info)) is not None:
        lines.append(f"last reload refused, the old settings hold: {problem}")
    preset = info.get("preset")
    if isinstance(preset, str) and preset != settings.preset:
        lines.append(f"works with preset {preset}, not with the file's: `ycsync reload` makes it read the file")
    return lines


def age_s(one: view.Judged) -> float | None:
    """Seconds since the last success: as old as what it proved, less the time between the two."""
    row = one.row
    if one.lag_s is None or row.last_success_at is None or row.proved_as_of is None:
        return None
    return max(0.0, one.lag_s - (row.last_success_at - row.proved_as_of).total_seconds())


def name(one: view.Judged) -> str:
    """The salon: its number and its title."""
    if one.row.company == 0:
        return "all salons"
    # Somebody wrote it: nothing of it may move the cursor or turn the line around.
    title = "" if one.title is None else " " + "".join(c if c.isprintable() else "?" for c in " ".join(one.title.split()))
    return f"{one.row.company}{title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + '…'}"


def state(one: view.Judged) -> str:
    """Its state, and what it waits for: a pause between batches looks like hanging."""
    if one.state == "off":
        return one.state
    if one.next_s is not None and one.next_s >= PAUSE_S:
        return f"{one.state}, next in {span(one.next_s)}"
    return f"{one.state}, paused" if one.paused else one.state


def done(one: view.Judged) -> str:
    """How much of it is there: `250/1,000 (25%)`, or the number when it is all."""
    row = one.row
    if row.expected is None or row.expected == row.done:
        return number(row.done)
    return f"{number(row.done)}/{number(row.expected)} ({row.done / max(1, row.expected):.0%})"


def together(found: Sequence[view.Judged]) -> str:
    """One line for streams of one state."""
    state = found[0].state
    salons = {one.row.company for one in found}
    count = sum(company > 0 for company in salons)
    who = name(found[0]) if len(salons) == 1 else f"{count} salon{'' if count == 1 else 's'}"
    lags = [one.lag_s for one in found if one.lag_s is not None]
    more = ", not older than " + span(max(lags)) if lags and state == "fresh" else ""
    if state == "waiting":
        nexts = [one.next_s for one in found]
        soon = min((next_s for next_s in nexts if next_s is not None), default=0.0)
        more = f", the next begins in {span(soon)}" if None not in nexts and soon >= PAUSE_S else " for their turn"
    return f"{who}: {len(found)} stream{'' if len(found) == 1 else 's'} {state}{more}"


def errors(standing: Standing, judged: Sequence[view.Judged]) -> list[str]:
    """Every error with its age. One that stopped several streams is one."""
    same: dict[str, list[view.Judged]] = {}
    for one in judged:
        if one.row.last_error is not None and one.state != "off":
            same.setdefault(one.row.last_error, []).append(one)
    lines = []
    for said, found in same.items():
        first = found[0]
        # Most errors say themselves where it was.
        where = "" if _SAYS_WHERE.match(said) else f"{name(first)}, {first.row.stream}: "
        since = min((one.row.error_since for one in found if one.row.error_since is not None), default=None)
        told = [] if since is None else [f"for {span((standing.now - since).total_seconds())}"]
        if len(found) > 1:
            told.insert(0, f"{len(found)} streams")
        elif first.row.failures > 1:
            told.append(f"{first.row.failures} times in a row")
        lines.append(f"{where}{said}" + (f" ({', '.join(told)})" if told else ""))
    return lines


def verdict(judged: tuple[view.Judged, ...]) -> str:
    """Is everything as it must be?"""
    if view.everything_well(judged):
        return "Everything that is on is complete and fresh."
    bad = sum(1 for one in judged if not one.well)
    known = any(one.row.company for one in judged)
    return f"Not complete or not fresh: {bad} of {len(judged)} streams." if known else "No salon is known yet."
