"""systemd's status line, /readyz, the page's verdict and `ycsync status` in each state."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from golden.compare import Golden, as_json, sections
from golden.salon import COMPLETE, Run
from golden.states import EMPTY, FAILED, NOW, STATES, State
from ycsync.cli import criteria as checks
from ycsync.cli import inspect as status_command
from ycsync.cli import wording
from ycsync.config import Settings
from ycsync.service import standing as view
from ycsync.service.judging import Judging
from ycsync.service.overview import Overview
from ycsync.service.page import Condition, Page, Reload
from ycsync.service.verdict import Refused, Trouble, verdict
from ycsync.store.report import Audit


class Clock:
    """A clock that tests advance."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def overview(state: State) -> Overview:
    """Return the service's view of this state."""
    clock = Clock()
    found = Overview(clock)
    if state.standing is not None:
        found.update(state.standing, state.settings)
    clock.now += state.unread_s
    return found


def normalised(text: str) -> str:
    """Return the text without the time of the last answer, which this machine's clock gives."""
    return re.sub(r"since \d\d:\d\d:\d\d UTC", "since <time> UTC", text)


def line(state: State) -> str:
    """Return the line of `systemctl status`."""
    said = overview(state).line(state.settings, state.problem, state.lost)
    return said if state.lost else normalised(said)


def ready(state: State) -> str:
    """Return the answer of /readyz."""
    return normalised("\n".join(overview(state).reasons(state.lost, state.problem)) or "ready")


def glance(state: State) -> Iterator[str]:
    """Return the page's verdict and its troubles."""
    standing = state.standing
    judged = None if standing is None else view.judge(standing, state.settings)
    told = verdict(
        judged,
        state.settings,
        {} if standing is None else standing.pauses,
        lost=state.lost,
        unread=NOW if state.unread_s else None,
        refused=None if state.problem is None else Refused(state.problem, NOW),
    )
    yield f"{told.state}: {told.said}"
    share = None if told.share is None else round(told.share, 4)
    yield f"since {view.instant(told.since)}, share {share}, eta {told.eta_s}, {told.eta_range_s}"
    if told.meanwhile is not None:
        yield f"meanwhile {told.meanwhile}"
    yield from map(_trouble, told.troubles)


def _trouble(one: Trouble) -> str:
    return f"- {one.what} (since {view.instant(one.since)}, {one.more} more)\n  {one.todo}"


def status(state: State) -> Iterator[str]:
    """Return the output of `ycsync status`; of healthy streams the first only."""
    assert state.standing is not None
    judged = view.judge(state.standing, state.settings)
    yield from wording.heading(state.standing, judged, state.settings)
    yield ""
    yield status_command._grid([one for one in judged if not one.well] or judged[:1]).plain()
    yield ""
    yield from wording.errors(state.standing, judged)
    yield wording.verdict(judged)


def verified(audit: Audit) -> str:
    """Return the output of `ycsync verify --json`."""
    told = checks.as_json(checks.criteria(audit, Settings()))
    return json.dumps(told, ensure_ascii=False, indent=2)


def test_the_line_for_systemd(golden: Golden) -> None:
    golden("systemd_line.txt", "\n".join(f"{state.name}\n    {line(state)}" for state in STATES))


def test_what_readyz_says(golden: Golden) -> None:
    golden("ready.txt", sections((state.name, ready(state)) for state in STATES))


def test_what_the_page_says_at_a_glance(golden: Golden) -> None:
    told = sections((state.name, "\n".join(glance(state))) for state in STATES)
    golden("page_verdict.txt", told)


def test_what_status_says(golden: Golden) -> None:
    told = sections((state.name, "\n".join(status(state))) for state in STATES[1:])
    golden("status_of_states.txt", told)


def test_status_json_of_several_troubles(golden: Golden) -> None:
    (state,) = (one for one in STATES if one.name == "several troubles at once")
    assert state.standing is not None
    judged = view.judge(state.standing, state.settings)
    told = view.as_json(state.standing, judged, state.settings)
    golden("status_troubled.json", json.dumps(told, ensure_ascii=False, indent=2))


def test_the_page_of_several_troubles(golden: Golden) -> None:
    (state,) = (one for one in STATES if one.name == "several troubles at once")
    assert state.standing is not None
    reload = Reload(NOW, "line 3: no such key", ("http.listen",))
    condition = Condition(state.settings, reload=reload, file_preset="night", admin=True)
    page = Page(lambda: condition, Clock())
    page.update(state.standing, Judging().judge(state.standing, state.settings))
    told = page.sections()
    told["service"] = json.loads(as_json(told["service"]))  # this process
    golden("page_troubled.json", json.dumps(told, ensure_ascii=False, indent=2))


def test_verify_where_nothing_passes(golden: Golden) -> None:
    golden("verify_failed.json", verified(FAILED))


def test_verify_of_an_empty_database(golden: Golden) -> None:
    golden("verify_empty.json", verified(EMPTY))


@pytest.mark.xdist_group("golden")
def test_what_systemd_is_told_by_a_service(run: Run, golden: Golden) -> None:
    # The lines while it fills depend on timing.
    filling = {one for one in run.told if one.startswith("STATUS=") and COMPLETE not in one}
    told = [one for one in run.told if one != "WATCHDOG=1" and one not in filling]
    once = dict.fromkeys(re.sub(r"\b\d+/6000", "<n>/6000", one) for one in told)
    golden("systemd_messages.txt", "\n\n".join(once))
