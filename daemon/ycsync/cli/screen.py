"""What does `status --watch` show, on a screen of any size? Pure: figures in, lines out.

What needs a look comes first. Where the screen is too short, what is fresh and what waits for its turn share a line by salon,
then all of them do; where it is too narrow, columns go, the least important first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ycsync import __version__
from ycsync.cli import wording
from ycsync.cli.output import COLOURS, number, percent, span
from ycsync.config import Settings
from ycsync.service import standing as judging
from ycsync.service.standing import Judged
from ycsync.store.report import Ended, Standing

BATCHES = 6
FEW = 3  # lines of one sort
LEAST_BODY = 5  # lines of streams, before batches are shown
LEAST_BAR, LONGEST_BAR = 6, 24
NAME = 12  # cells that the salon's name may have at least
WORST_FIRST = ("stopped", "stale", "filling", "waiting", "fresh", "off")
_ASCII = str.maketrans(
    {"…": "...", "—": "-", "–": "-", "«": '"', "»": '"', "“": '"', "”": '"', "’": "'", "№": "No", "₽": "RUB"}
)
OUTCOMES = {
    "proved": "green",
    "more": "green",
    "turn": "green",
    "failed": "red",
    "denied": "red",
    "lost": "yellow",
    "fenced": "yellow",
}


@dataclass(frozen=True, slots=True)
class View:
    """What is shown. `lost`: why the database cannot be asked, and since when; what else is here was so before.

    `stopped`: it is the private one, which ended with the service.
    """

    standing: Standing
    judged: tuple[Judged, ...]
    recent: tuple[Ended, ...]
    settings: Settings
    lost: tuple[str, datetime] | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """The screen: its size in cells, and whether it has other letters than ASCII."""

    width: int = 100
    height: int = 30
    fancy: bool = True

    def bar(self, share: float, width: int) -> str:
        """A bar that is full at 1."""
        inner = width if self.fancy else width - 2
        filled = round(min(1.0, max(0.0, share)) * inner)
        return "█" * filled + "░" * (inner - filled) if self.fancy else f"[{'#' * filled}{'.' * (inner - filled)}]"

    def letters(self, text: str) -> str:
        """The text in letters that the screen has; a salon is known by its number too."""
        return text if self.fancy else text.translate(_ASCII).encode("ascii", "replace").decode()

    def fit(self, text: str) -> str:
        """As much of it as a line holds."""
        text = self.letters(text)
        return (
            text
            if cell_len(text) <= self.width
            else set_cell_size(text, self.width - 1).rstrip() + ("…" if self.fancy else ">")
        )


def lines(view: View, look: Look, now: datetime) -> list[Text]:
    """The screen's lines, never more than it has. `now`: by this machine's clock."""
    head, troubles = [*_head(view, look, now)], [*_troubles(view, look)]
    room = look.height - len(head) - len(troubles)
    foot = [*_recent(view, look, room - LEAST_BODY), *troubles]
    room = max(1, look.height - len(head) - len(foot))
    body = _body(view.judged, look, room)
    return [*head, *body[:room], *foot][: look.height]


def _line(look: Look, text: str, style: str = "") -> Text:
    return Text(look.fit(text), style=style, no_wrap=True, end="")


def _wrapped(look: Look, text: str, style: str) -> Iterator[Text]:
    """What is wrong ends with what to do: where there is room, it may take three lines."""
    room = 3 if look.height >= 24 else 2 if look.height >= 16 else 1
    parts = textwrap.wrap(look.letters(text), look.width, subsequent_indent="  ", break_on_hyphens=False)
    if len(parts) > room:
        parts[room - 1 :] = [" ".join([parts[room - 1], *(part.strip() for part in parts[room:])])]
    for part in parts:
        yield _line(look, part, style)


# --- the head ---------------------------------------------------------------------------------------------------------------


def _head(view: View, look: Look, now: datetime) -> Iterator[Text]:
    standing, settings = view.standing, view.settings
    services = [] if view.stopped else [worker for worker in standing.workers if worker.role == "service"]
    up = f"service up {span((standing.now - services[0].started_at).total_seconds())}" if services else "NO SERVICE RUNS"
    more = f", {len(services)} of them" if len(services) > 1 else ""
    version = services[0].version if services else __version__
    title = f"ycsync {version}  {now.astimezone():%H:%M:%S}  preset {settings.preset}  {up}{more}"
    yield _line(look, title, "bold" if services else "bold yellow")
    if view.lost is not None:
        why, since = view.lost
        yield from _wrapped(look, f"DATABASE AWAY for {span((now - since).total_seconds())}: {why}", "bold red")
        yield _line(look, "What follows was so before; it is asked again every second.", "red")
    yield from _limits(view, look)
    hour = standing.hour
    failed = f", {hour.failed} failed" if hour.failed else ""
    wrong = f", {number(hour.errors)} failed" if hour.errors else ""
    refused = f", {number(hour.throttled)} refused" if hour.throttled else ""
    working = f"; {number(hour.working)} at work" if hour.working else ""
    says = f"last hour  {number(hour.batches)} batches ended{failed}; {number(hour.requests)} requests{wrong}{refused}{working}"
    yield _line(look, says, "yellow" if hour.failed or hour.errors or hour.throttled else "")
    notes = [note for service in services for note in wording.about_service(service.info, settings)]
    for told in (*wording.waiting(standing), *_few(notes), *_few(wording.held(standing, view.judged))):
        yield from _wrapped(look, told, "yellow")
    yield Text("", end="")


def _few(told: Sequence[str]) -> list[str]:
    """The first of them: the streams need the screen too."""
    return [*told] if len(told) <= FEW else [*told[:FEW], f"and {number(len(told) - FEW)} more: `ycsync status`"]


def _limits(view: View, look: Look) -> Iterator[Text]:
    usage, limits, preset = view.standing.usage, view.settings.yclients, view.settings.active
    narrow = look.width < 80
    rows = []
    for label, used, limit, ours in (
        ("second", usage.second, limits.per_second, min(preset.per_second, limits.per_second)),
        ("minute", usage.minute, limits.per_minute, min(preset.per_minute, limits.per_minute)),
    ):
        figures = f"{used:>4}/{limit}" + ("" if narrow else f" requests in the last {label}, the preset takes {ours}")
        rows.append((label, used / max(1, limit), figures))
    width = min(LONGEST_BAR, max(LEAST_BAR, look.width - max(cell_len(figures) for *_, figures in rows) - 11))
    for label, share, figures in rows:
        yield _line(look, f"{label:<9}  {look.bar(share, width)}{figures}")


# --- the streams ------------------------------------------------------------------------------------------------------------


def _body(judged: tuple[Judged, ...], look: Look, room: int) -> list[Text]:
    """Every stream a line; where that is too much, those that are fresh or wait share one by salon, then all of them."""
    ordered = sorted(judged, key=lambda one: WORST_FIRST.index(one.state))  # stable: by salon within
    shown = [one for one in ordered if one.state != "off"]
    columns = _columns(shown, look)
    if len(shown) + 1 <= room:
        return [_titles(columns, look), *(_row(one, columns, look) for one in shown)]
    fresh, waiting = ([one for one in shown if one.state == state] for state in ("fresh", "waiting"))
    kept = [one for one in shown if one.state != "fresh"]
    moving = [one for one in kept if one.state != "waiting"]
    for needing, sharing in (
        (kept, _by_salon(fresh)),
        (moving, [*_by_salon(waiting), *_by_salon(fresh)]),
        (moving, [*_by_salon(waiting), fresh]),
        (moving, [waiting, fresh]),
    ):
        shared = [found for found in sharing if found]
        if len(needing) + len(shared) + 1 <= room:
            left, more = len(needing), []
            break
    else:
        left = max(0, room - len(shared) - 2)
        more = [_line(look, f"and {number(len(needing) - left)} more that are not fresh", "yellow")]
    rows = (_row(one, columns, look) for one in needing[:left])
    return [_titles(columns, look), *rows, *more, *(_together(found, look) for found in shared)]


def _by_salon(judged: Sequence[Judged]) -> list[list[Judged]]:
    salons: dict[int, list[Judged]] = {}
    for one in judged:
        salons.setdefault(one.row.company, []).append(one)
    return list(salons.values())


def _together(found: Sequence[Judged], look: Look) -> Text:
    return _line(look, wording.together(found), COLOURS.get(found[0].state, ""))


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    cell: Callable[[Judged], str]
    right: bool = False

    def of(self, text: str) -> str:
        text = set_cell_size(text, self.width) if cell_len(text) > self.width else text
        space = " " * (self.width - cell_len(text))
        return space + text if self.right else text + space


def _columns(shown: Sequence[Judged], look: Look) -> list[_Column]:
    """Those that fit, by their importance; the salon's name and the bar take what is left."""

    def column(title: str, cell: Callable[[Judged], str], right: bool = False) -> _Column:
        widest = max([cell_len(title), *(cell_len(cell(one)) for one in shown)])
        return _Column(title, widest, cell, right)

    short = look.width < 72
    salon = column(
        "salon", (lambda one: str(one.row.company or "all")) if short else lambda one: look.letters(wording.name(one))
    )
    salon = replace(salon, width=min(salon.width, max(NAME, look.width // 4)))
    columns = [
        salon,
        column("stream", lambda one: one.row.stream),
        column("state", (lambda one: one.state) if short else wording.state),
    ]
    left = look.width - sum(each.width + 2 for each in columns) + 2
    bar = _Column("", LEAST_BAR, lambda one: "")
    optional = [
        column("done", lambda one: _share(one) if short else wording.done(one), right=True),
        column("ETA", _eta, right=True),
        bar,
        column("lag", lambda one: span(one.lag_s), right=True),
        column("failures", lambda one: str(one.row.failures or ""), right=True),
        column("requests", lambda one: number(one.row.requests), right=True),
    ]
    if not any(one.eta_range_s for one in shown):
        del optional[1]
    for each in optional:
        if each.width + 2 <= left:
            columns.append(each)
            left -= each.width + 2
    if bar in columns:
        width = LEAST_BAR + min(LONGEST_BAR - LEAST_BAR, left)

        def drawn(one: Judged) -> str:
            return look.bar(one.row.done / one.row.expected, width) if one.row.expected else ""

        columns[columns.index(bar)] = _Column("", width, drawn)
    return columns


def _share(one: Judged) -> str:
    return "" if not one.row.expected else percent(one.row.done / one.row.expected)


def _eta(one: Judged) -> str:
    if one.eta_range_s is None:
        return ""
    low, high = (span(each) for each in one.eta_range_s)
    if low == high:
        return low
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if high.partition(" ")[2] == unit else f"{low} to {high}"


def _titles(columns: Sequence[_Column], look: Look) -> Text:
    return _line(look, "  ".join(each.of(each.title) for each in columns).rstrip(), "dim")


def _row(one: Judged, columns: Sequence[_Column], look: Look) -> Text:
    text = _line(look, "  ".join(each.of(each.cell(one)) for each in columns).rstrip())
    (state,) = (each.cell(one) for each in columns if each.title == "state")
    text.highlight_words([state], style=COLOURS.get(one.state, ""))
    return text


# --- the foot ---------------------------------------------------------------------------------------------------------------


def _recent(view: View, look: Look, room: int) -> Iterator[Text]:
    """The batches that ended last, where there is room for any."""
    most = BATCHES if look.height >= 24 else FEW if look.height >= 16 else 0
    if found := view.recent[: max(0, min(most, room - 1))]:
        yield Text("", end="")
        for one in found:
            seconds = (one.finished_at - one.started_at).total_seconds()
            errors = f", {one.errors} failed" if one.errors else ""
            salon = one.company or "all salons"
            says = f"{one.finished_at.astimezone(UTC).astimezone():%H:%M:%S}  {salon} {one.stream}: "
            if one.outcome == "lost":  # its figures are not known
                says += "cut off; what it had committed is kept"
            else:
                asked = f"{number(one.requests)} request{'' if one.requests == 1 else 's'}{errors}"
                says += f"{one.outcome}, {number(one.rows)} new rows, {asked}, {seconds:.1f} s"
            yield _line(look, says, OUTCOMES.get(one.outcome, ""))


def _troubles(view: View, look: Look) -> Iterator[Text]:
    yield Text("", end="")
    troubles = wording.errors(view.standing, view.judged)
    for trouble in troubles[:FEW]:
        yield from _wrapped(look, trouble, "red")
    if len(troubles) > FEW:
        yield _line(look, f"and {number(len(troubles) - FEW)} more errors: `ycsync status`", "red")
    yield _line(look, wording.verdict(view.judged), "green" if judging.everything_well(view.judged) else "yellow")
