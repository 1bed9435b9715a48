"""Does journald get each value in a field of its own, at a bounded rate, and does the catalogue say all that is said?"""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from support.documents import CHECKOUT
from support.logged import logging_restored
from ycsync import logs
from ycsync.errors import DatabaseUnavailable
from ycsync.logs.catalogue import CATALOGUE, COMMON_KEYS, KEYS, LIBRARY
from ycsync.logs.document import document
from ycsync.logs.journal import encoded, field
from ycsync.logs.rate import ALL_BURST, ALL_EVERY_S, BURST, EVERY_S, FIRST_S, MOST_KEPT, Rate

__all__ = ["logging_restored"]
pytestmark = pytest.mark.usefixtures("logging_restored")
SAID_BY_ITSELF = {LIBRARY.name}  # logs.output, for libraries


class Journald:
    """What journald would read: its socket, and a standard error that leads to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(1)
        self.stderr = (folder / "stderr").open("w+", encoding="utf-8")

    def configure(self, level: str = "info") -> None:
        status = os.fstat(self.stderr.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        logs.configure(level, stream=self.stderr, env={"JOURNAL_STREAM": stream}, journal=self.path)

    def entry(self) -> dict[str, str]:
        return decoded(self.socket.recv(1 << 20))

    def said(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    found = Journald(tmp_path)
    found.configure()
    yield found
    found.socket.close()
    found.stderr.close()


def decoded(data: bytes) -> dict[str, str]:
    """As the protocol's page says that an entry is read."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[name.decode()] = value.decode()
        data = rest
    return found


def test_each_value_is_a_field_and_the_message_is_the_line(journald: Journald) -> None:
    with structlog.contextvars.bound_contextvars(company=4001):
        logs.emit(logs.get_logger("ycsync.scheduler"), logs.BATCH_COMMITTED, stream="clients", rows=300, duration_s=0.25)
    assert journald.entry() == {
        "MESSAGE": "event=batch.committed module=scheduler stream=clients rows=300 duration_s=0.25 company=4001",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "ycsync",
        "YCSYNC_EVENT": "batch.committed",
        "YCSYNC_MODULE": "scheduler",
        "YCSYNC_STREAM": "clients",
        "YCSYNC_ROWS": "300",
        "YCSYNC_DURATION_S": "0.25",
        "YCSYNC_COMPANY": "4001",
    }
    assert journald.said() == ""


@pytest.mark.parametrize(("level", "priority"), [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3")])
def test_priorities_are_those_that_journalctl_filters_by(journald: Journald, level: str, priority: str) -> None:
    journald.configure("debug")
    event = next(one for one in CATALOGUE.values() if one.level == level)
    logs.emit(logs.get_logger("x"), event)
    assert journald.entry()["PRIORITY"] == priority


def test_what_is_private_is_cut_out_of_the_fields_too(journald: Journald) -> None:
    error = DatabaseUnavailable("postgresql://me:hush-hush@host/db: gone, call +7 999 000-00-11")
    logs.emit(logs.get_logger("x"), logs.DATABASE_LOST, error=error, client="Olga")
    entry = journald.entry()
    assert "hush-hush" not in repr(entry)
    assert "999 000" not in repr(entry)
    assert "Olga" not in repr(entry)
    assert "host/db: gone" in entry["YCSYNC_ERROR"]


def test_without_journalds_socket_the_line_goes_to_standard_error(journald: Journald) -> None:
    journald.socket.close()
    journald.path.unlink()
    logs.emit(logs.get_logger("x"), logs.PASS_PROVED, rows=3)
    assert journald.said() == "<6>event=pass.proved module=x rows=3\n"


def test_the_last_words_of_a_process_go_to_standard_error_which_is_known_to_be_its_units(journald: Journald) -> None:
    logs.last_words()
    logs.emit(logs.get_logger("x"), logs.SERVICE_FAILED, error=DatabaseUnavailable("gone"))
    assert journald.said() == "<3>event=service.failed module=x error=gone\n"


def test_a_journald_that_reads_nothing_holds_up_nobody(journald: Journald) -> None:
    journald.configure("debug")
    for number in range(3_000):
        logs.emit(logs.get_logger("x"), logs.BATCH_QUIET, batch=number)
    # Those that its socket does not take go the other way.
    assert "event=batch.quiet" in journald.said()
    assert journald.entry()["YCSYNC_BATCH"] == "0"


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True), st.text(), max_size=4))
def test_any_value_arrives_as_it_is(fields: dict[str, str]) -> None:
    kept = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in fields.items()}
    assert decoded(encoded(fields)) == kept


@given(st.text())
def test_a_field_has_a_name_that_journald_takes(key: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", field(key))


def test_a_command_that_fails_under_systemd_says_so_as_an_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("preset: agressive\nstreams: {clients: often}\n")
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stderr:
        status = os.fstat(stderr.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        done = subprocess.run(
            [sys.executable, "-m", "ycsync", "run", "--config", str(config)], stderr=stderr, env=env, check=False
        )
        stderr.seek(0)
        lines = stderr.read().splitlines()
    assert done.returncode == 2
    assert [line.split(" ")[0] for line in lines] == ["<3>event=config.rejected"] * 2
    assert "line=1" in lines[0]


# --- how many ---------------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(
        st.tuples(st.floats(0, 90), st.integers(0, 400), st.integers(1, 400), st.sampled_from((1, 1, 25))),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_lines_are_bounded_and_those_left_out_are_counted(steps: list[tuple[float, int, int, int]], error: bool) -> None:
    """Each step: some seconds later a row of salons speaks, each once, or often."""
    clock = Clock()
    rate = Rate(clock)
    asked: Counter[int] = Counter()
    written: Counter[int] = Counter()
    told = 0
    for wait_s, first, salons, times in steps:
        clock.now += wait_s
        for company in [*range(first, first + salons)] * times:
            taken = rate.take("api.denied", company, "clients", error=error)
            new = asked[company] == 0
            asked[company] += 1
            if taken is not None:
                written[company] += 1
                told += taken
            assert taken is not None or not (error and new), "the first error of a salon was left out"
        assert written.total() + told + rate.pending() == asked.total()
    assert max(written.values()) <= BURST + clock.now / EVERY_S
    assert written.total() <= ALL_BURST + clock.now / ALL_EVERY_S + (len(asked) if error else 0)
    # In the end every line is written or told.
    clock.now += ALL_EVERY_S * ALL_BURST
    for company in asked:
        clock.now += ALL_EVERY_S
        taken = rate.take("api.denied", company, "clients", error=error)
        assert taken is not None
        told += taken
    assert written.total() + told == asked.total()
    assert rate.pending() == 0


def test_what_all_salons_left_out_is_told_by_the_next_line_of_any() -> None:
    clock = Clock()
    rate = Rate(clock)
    taken = [rate.take("batch.committed", company, "records") for company in range(ALL_BURST + 500)]
    assert taken == [0] * ALL_BURST + [None] * 500
    clock.now += ALL_EVERY_S
    assert rate.take("batch.committed", 9_999, "clients") == 500


def test_of_a_thousand_salons_whose_token_ends_each_is_named() -> None:
    clock = Clock()
    rate = Rate(clock)
    salons = range(1_000)
    assert [rate.take("api.denied", company, "staff", error=True) for company in salons] == [0] * 1_000
    # That it goes on is bounded; and an hour later whoever is still in trouble is named again.
    clock.now += FIRST_S / 2
    again = [rate.take("api.denied", company, "staff", error=True) for company in salons]
    assert again == [0] * ALL_BURST + [None] * (1_000 - ALL_BURST)
    clock.now += FIRST_S / 2
    assert all(rate.take("api.denied", company, "staff", error=True) is not None for company in salons)


def test_a_kind_that_is_forgotten_leaves_what_it_owes_to_its_event() -> None:
    rate = Rate(Clock())
    for _ in range(BURST + 2):
        rate.take("api.denied", 0, "clients", error=True)
    told = [rate.take("api.denied", company, "clients", error=True) for company in range(1, MOST_KEPT + 1)]
    assert len(rate._kinds) <= MOST_KEPT
    assert told == [0] * (MOST_KEPT - 1) + [2]


def test_a_pass_of_a_hundred_thousand_clients_does_not_write_as_many_lines() -> None:
    clock = Clock()
    rate = Rate(clock)
    written = 0
    for _ in range(100_000):
        clock.now += 0.01
        written += rate.take("batch.committed", 4001, "clients") is not None
    assert written <= BURST + 1_000 / EVERY_S + 1


def test_many_salons_in_trouble_at_once_are_bounded_together_and_forgotten() -> None:
    clock = Clock()
    rate = Rate(clock)
    written = sum(rate.take("api.retry", company, "clients") is not None for company in range(3 * MOST_KEPT))
    assert written == ALL_BURST
    clock.now += 60
    written = sum(rate.take("api.retry", company, "clients") is not None for company in range(500))
    assert written == pytest.approx(60 / ALL_EVERY_S, abs=1)
    assert len(rate._kinds) <= MOST_KEPT + 1


def test_a_line_says_how_many_were_left_out_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), Clock()
    logs.configure("info", stream=stream, env={})
    monkeypatch.setattr("ycsync.logs.rate._rate", Rate(clock))
    for _ in range(BURST + 7):
        logs.emit(logs.get_logger("x"), logs.API_RETRY, company=4001)
    clock.now += EVERY_S
    logs.emit(logs.get_logger("x"), logs.API_RETRY, company=4001)
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 1
    assert lines[-1].endswith("company=4001 suppressed=7")


def test_a_reload_forgets_no_line_that_was_left_out_and_a_level_leaves_out_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), Clock()
    monkeypatch.setattr("ycsync.logs.rate._rate", Rate(clock))
    logs.configure("warning", stream=stream, env={})
    for _ in range(BURST + 3):
        logs.emit(logs.get_logger("x"), logs.BATCH_COMMITTED, company=4001)
    logs.configure("info", stream=stream, env={})
    for _ in range(BURST + 3):
        logs.emit(logs.get_logger("x"), logs.BATCH_COMMITTED, company=4001)
    logs.configure("info", stream=stream, env={})
    clock.now += EVERY_S
    logs.emit(logs.get_logger("x"), logs.BATCH_COMMITTED, company=4001)
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 1
    assert lines[-1].endswith("company=4001 suppressed=3")


def test_what_libraries_say_is_bounded_too() -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream, env={})
    for _ in range(200):
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task>")
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST
    assert all(
        line.endswith('level=error event=library module=asyncio text="Task exception was never retrieved"') for line in lines
    )


# --- the catalogue ----------------------------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[Path, ast.Call]]:
    """Every call of `emit` in the program."""
    for path in sorted((CHECKOUT / "daemon" / "ycsync").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("emit", "emit_at"):
                yield path, node
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logs.emit":
                yield path, node


def events_by_variable() -> dict[str, logs.Event]:
    from ycsync.logs import catalogue

    return {name: value for name, value in vars(catalogue).items() if isinstance(value, logs.Event)}


def test_what_is_said_is_in_the_catalogue_and_the_other_way_round() -> None:
    known = events_by_variable()
    said: set[str] = set()
    for path, call in calls():
        names = [ast.unparse(argument).removeprefix("logs.") for argument in call.args]
        found = [name for name in names if name in known]
        if path.name == "catalogue.py" or names[1:2] == ["event"]:
            continue
        assert len(found) == 1, f"{path}:{call.lineno}: {ast.unparse(call)}"
        said.add(known[found[0]].name)
        undeclared = {one.arg for one in call.keywords if one.arg} - set(known[found[0]].keys) - set(COMMON_KEYS)
        assert not undeclared, f"{path}:{call.lineno}: {undeclared}"
    # Chosen by a loop: daemon._say_paused.
    assert said | {"service.paused", "service.resumed"} | SAID_BY_ITSELF == set(CATALOGUE)


def test_nothing_is_said_past_the_catalogue() -> None:
    past = [
        f"{path.name}:{number}"
        for path in (CHECKOUT / "daemon" / "ycsync").rglob("*.py")
        if "simulator" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b_?log(?:ger)?\.(?:debug|info|warning|error|exception|critical)\(", line)
    ]
    assert past == []


def test_every_warning_says_what_to_do_and_every_key_is_explained() -> None:
    for event in CATALOGUE.values():
        assert bool(event.action) == (event.level in ("warning", "error")), event.name
    used = {key for event in CATALOGUE.values() for key in event.keys} | set(COMMON_KEYS)
    assert used - {"exc_info"} | {"exception", "frames", "module", "undeclared"} == set(KEYS)


def test_the_page_is_what_the_code_says() -> None:
    assert (CHECKOUT / "docs" / "events.md").read_text() == document(), "python -m ycsync.logs.document > docs/events.md"
