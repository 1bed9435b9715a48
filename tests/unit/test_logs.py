"""Do log lines look right everywhere, and do they keep persons and secrets to themselves?"""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import re
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from support.logged import Terminal, logging_restored
from ycsync import logs
from ycsync.errors import ApiError, DatabaseUnavailable
from ycsync.logs import output, rate

__all__ = ["logging_restored"]
pytestmark = pytest.mark.usefixtures("logging_restored")
TOKEN = "k3yt0k3nabcdef12345"


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("info", stream=stream, env={})
    return stream


def said(stream: io.StringIO) -> str:
    """What was said, without the time."""
    return re.sub(r"^ts=\S+ ", "", stream.getvalue(), flags=re.MULTILINE)


def test_elsewhere_a_line_is_logfmt_with_time_and_level(lines: io.StringIO) -> None:
    logs.emit(logs.get_logger("ycsync.sync"), logs.BATCH_COMMITTED, company=4001, rows=300, duration_s=0.25)
    assert re.fullmatch(
        r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=batch\.committed module=sync "
        r"company=4001 rows=300 duration_s=0\.25\n",
        lines.getvalue(),
    )


@pytest.mark.parametrize(
    ("event", "prefix"),
    [(logs.PASS_PROVED, "<6>"), (logs.LIMIT_THROTTLED, "<4>"), (logs.BATCH_FAILED, "<3>")],
)
def test_under_journald_a_line_has_its_priority_and_no_time(tmp_path: Path, event: logs.Event, prefix: str) -> None:
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        logs.configure(
            "info", stream=stream, env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, journal=tmp_path / "none"
        )
        logs.emit(logs.get_logger("sync"), event, company=4001)
        stream.seek(0)
        assert stream.read() == f"{prefix}event={event.name} module=sync company=4001\n"


def test_a_stream_that_is_not_journalds_keeps_its_time(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stream:
        logs.configure("info", stream=stream, env={"JOURNAL_STREAM": "1:2"})
        logs.emit(logs.get_logger("sync"), logs.PASS_PROVED)
        stream.seek(0)
        assert stream.read().startswith("ts=")


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colour_unless_it_is_not_wanted(env: dict[str, str], coloured: bool) -> None:
    stream = Terminal()
    logs.configure("info", stream=stream, env=env)
    logs.emit(logs.get_logger("sync"), logs.PASS_PROVED, rows=3)
    assert ("\x1b[" in stream.getvalue()) is coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert re.fullmatch(r"\d\d:\d\d:\d\d info +pass\.proved module=sync rows=3\n", plain)


def test_the_level_follows_a_reload_also_for_loggers_that_exist(lines: io.StringIO) -> None:
    log = logs.get_logger("sync").bind(company=1)
    logs.emit(log, logs.PAGE_COMMITTED)
    assert lines.getvalue() == ""
    logs.configure("debug", stream=lines, env={})
    logs.emit(log, logs.PAGE_COMMITTED)
    assert "page.committed" in lines.getvalue()
    logs.configure("error", stream=lines, env={})
    logs.emit(log, logs.LIMIT_THROTTLED)
    logging.getLogger("aiohttp").warning("quiet")
    assert lines.getvalue().count("\n") == 1


def test_bound_context_is_on_every_line(lines: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(company=4001, stream="clients"):
        logs.emit(logs.get_logger("api"), logs.API_RETRY, attempt=2)
    assert said(lines) == "level=warning event=api.retry module=api attempt=2 company=4001 stream=clients\n"


def test_a_key_that_an_event_does_not_declare_is_named_and_not_printed(lines: io.StringIO) -> None:
    logs.emit(logs.get_logger("x"), logs.PASS_PROVED, rows=1, client="Olga", visitor="Anna")
    assert said(lines) == "level=info event=pass.proved module=x rows=1 undeclared=client,visitor\n"


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "client_name",
        "surname",
        "phone",
        "phone_raw",
        "email",
        "token",
        "user_token",
        "Authorization",
        "payload",
        "body",
        "raw",
        "password",
        "database_url",
        "comment",
        "query",
        "headers",
        "birth_date",
        "secret",
        "login",
    ],
)
def test_a_private_key_is_redacted_wherever_it_comes_from(lines: io.StringIO, key: str) -> None:
    log = logs.get_logger("x")
    log.bind(**{key: "Olga-7"}).warning("bound")
    log.warning("nested", data={key: "Olga-7", "kept": 1})
    assert "Olga" not in lines.getvalue()
    assert lines.getvalue().count("[redacted]") == 2
    assert "kept:1" in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"sent Authorization: Bearer {TOKEN}, User {TOKEN} to", "sent"),
        ("call +7 999 000-00-11 now", "call"),
        ("call +79990000011 now", "now"),
        ("call 79990000011 now", "now"),
        ("write to olga.lis@example.com please", "please"),
        (f"GET https://api.example/v1/clients?phone={TOKEN} failed", "failed"),
        (f"GET /clients/4001?fullname={TOKEN} failed", "/clients/4001?"),
        (f"postgresql://me:{TOKEN}@host:5432/db refused", "host:5432/db refused"),
        (f"POST /hooks/{TOKEN} refused", "/hooks/"),
    ],
)
def test_what_looks_private_is_cut_out_of_a_text(lines: io.StringIO, text: str, kept: str) -> None:
    logs.emit(logs.get_logger("x"), logs.API_RETRY, reason=text, error=ApiError(text))
    out = lines.getvalue()
    assert kept in out
    assert TOKEN not in out
    assert "olga" not in out
    assert not re.search(r"999[ \d-]{4}", out)


def test_ids_times_and_counts_are_not_taken_for_phones(lines: io.StringIO) -> None:
    keys = {
        "company": 79990000011,
        "rows": 1900000001,
        "expected": "1234567890",
        "deleted": "2026-03-02T12:00:00+03:00",
    }
    logs.emit(logs.get_logger("x"), logs.PASS_PROVED, **keys)
    assert "redacted" not in lines.getvalue()
    assert all(str(value) in lines.getvalue() for value in keys.values())


def test_a_line_stays_one_line(lines: io.StringIO) -> None:
    logs.get_logger("x").warning("a\nb", value='c\r\nts=fake "q" \\ \x1b[31m\u2028\u202e', **{"k\n=": 1})
    assert said(lines) == (
        'level=warning event="a\\nb" module=x value="c\\r\\nts=fake \\"q\\" \\\\ \\u001b[31m\\u2028\\u202e" k__=1\n'
    )


@given(
    st.text(),
    st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.floats() | st.none(), max_size=3),
)
def test_any_value_is_printed_as_one_printable_line(text: str, data: dict[str, object]) -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream, env={})
    rate.reset()  # each text is the first
    logs.emit(logs.get_logger("x"), logs.API_RETRY, reason=text, endpoint=data)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_a_long_value_is_cut(lines: io.StringIO) -> None:
    for text in ("y" * 100_000, " " * 100_000, "/" * 100_000, f"{'call +79990000011 ' * 300}"):
        logs.emit(logs.get_logger("x"), logs.API_RETRY, reason=text)
    assert all(len(line) < 1300 for line in lines.getvalue().splitlines())
    assert "7999" not in lines.getvalue()


def test_an_unexpected_error_shows_types_and_frames_but_no_message(lines: io.StringIO) -> None:
    def parse() -> None:
        int("Olga Lis")

    try:
        try:
            parse()
        except ValueError as error:
            raise RuntimeError("row of Olga Lis") from error
    except RuntimeError as error:
        logs.emit(logs.get_logger("x"), logs.UNEXPECTED, exc_info=error)
        logs.get_logger("x").exception("unexpected")
    assert "Olga" not in lines.getvalue()
    assert lines.getvalue().count('exception="RuntimeError < ValueError"') == 2
    assert re.search(r'frames="unit/test_logs\.py:\d+ parse < ', lines.getvalue())


def test_a_group_and_a_ring_of_causes_can_be_shown(lines: io.StringIO) -> None:
    first, second = ValueError("Olga"), KeyError("Olga")
    first.__cause__, second.__cause__ = second, first
    logs.emit(logs.get_logger("x"), logs.UNEXPECTED, exc_info=ExceptionGroup("Olga", [first, second]))
    assert 'exception="ExceptionGroup < ValueError < KeyError"' in lines.getvalue()
    assert "Olga" not in lines.getvalue()


def test_our_own_errors_keep_their_message_and_others_only_their_type(lines: io.StringIO) -> None:
    logs.emit(logs.get_logger("x"), logs.DATABASE_LOST, error=DatabaseUnavailable("cannot reach db:5432: start it"))
    logs.emit(logs.get_logger("x"), logs.DATABASE_LOST, error=KeyError("Olga"))
    assert 'error="cannot reach db:5432: start it"' in lines.getvalue()
    assert "error=KeyError" in lines.getvalue()
    assert "Olga" not in lines.getvalue()


def test_other_libraries_say_their_template_and_never_their_arguments(lines: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "Olga")
    logging.getLogger("asyncpg").warning(ValueError("Olga"))
    logging.getLogger("asyncpg").info("chatter")
    logging.getLogger("aiohttp.access").error("GET /hooks/abc")
    assert said(lines) == (
        'level=error event=library module=aiohttp.server text="Error handling request from %s"\n'
        "level=warning event=library module=asyncpg text=ValueError\n"
    )


def test_asyncios_unhandled_exceptions_are_said_without_their_message(lines: io.StringIO) -> None:
    async def fail() -> None:
        raise ValueError("Olga")

    async def forget() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    with asyncio.Runner() as runner:
        runner.run(forget())
        gc.collect()
    assert "Task exception was never retrieved" in lines.getvalue()
    assert "exception=ValueError" in lines.getvalue()
    assert "Olga" not in lines.getvalue()


def test_configuring_twice_says_everything_once(lines: io.StringIO) -> None:
    logs.configure("info", stream=lines, env={})
    logging.getLogger("asyncpg").warning("once")
    assert lines.getvalue().count("text=once") == 1


def test_a_log_that_cannot_be_written_does_not_stop_the_work() -> None:
    closed = io.StringIO()
    closed.close()
    logs.configure("info", stream=closed, env={})
    logs.emit(logs.get_logger("x"), logs.PASS_PROVED)
    logging.getLogger("asyncpg").warning("x")
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    logs.configure("info", stream=ascii_only, env={})
    logs.emit(logs.get_logger("x"), logs.API_RETRY, reason="нет")
    assert ascii_only.buffer.getvalue().endswith(rb"reason=\u043d\u0435\u0442" + b"\n")


def test_the_catalogue_is_consistent() -> None:
    assert len(logs.CATALOGUE) >= 30
    for name, event in logs.CATALOGUE.items():
        assert re.fullmatch(r"[a-z]+(\.[a-z_]+)?", name)
        assert getattr(logs, name.upper().replace(".", "_")) is event
        assert event.meaning
        assert not set(event.keys) & set(logs.COMMON_KEYS)
        assert event.level in output._PRIORITY


def test_no_declared_key_is_one_that_is_always_redacted(lines: io.StringIO) -> None:
    for event in logs.CATALOGUE.values():
        logs.emit(logs.get_logger("x"), event, **dict.fromkeys(event.keys, 1))
    assert "redacted" not in lines.getvalue()
    assert "undeclared" not in lines.getvalue()
