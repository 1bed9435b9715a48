"""How does a line look, and where does it go? Colour on a terminal, `<N>` in journald, else logfmt."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast, get_args

from ycsync.logs import rate
from ycsync.logs.catalogue import LIBRARY, Level, emit_at
from ycsync.logs.journal import SOCKET, Journal
from ycsync.logs.journal import field as field_name
from ycsync.logs.privacy import exception_processor, redact_processor

if TYPE_CHECKING:
    # A command that logs no line does not pay for this import, which takes longer than all of ycsync's own.
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

IDENTIFIER: Final = "ycsync"
LEVELS: Final[tuple[Level, ...]] = get_args(Level)  # from the quietest up
_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_NUMBER: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_COLOUR: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_BARE: Final = re.compile(r"[^\s\"'=\\]+")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
Style = Literal["console", "colour", "journal", "logfmt"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line for journald, its values apart."""

    fields: Mapping[str, str]


@dataclass(slots=True)
class _Output:
    """Where lines go. One for the process, changed by `configure`, so that loggers that exist follow it."""

    stream: TextIO | None = None
    style: Style = "logfmt"
    level: int = 20
    failed: int = field(default=0)
    journal: Journal = field(default_factory=Journal)
    leaving: bool = False
    pending: bool = False  # structlog is configured when the first line is written

    def write(self, line: str | Entry) -> None:
        if isinstance(line, Entry):
            if not self.leaving and self.journal.send(line.fields):
                return
            line = f"<{line.fields['PRIORITY']}>{line.fields['MESSAGE']}"
        stream = self.stream if self.stream is not None else sys.stderr
        try:
            try:
                stream.write(line + "\n")
            except UnicodeEncodeError:
                stream.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
            stream.flush()
        except (OSError, ValueError):
            self.failed += 1  # a full disk or a closed pipe must not stop the work


_output = _Output()


def _filter(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    import structlog

    level = {"exception": "error", "warn": "warning", "fatal": "critical"}.get(method, method)
    if _NUMBER.get(level, 20) < _output.level:
        raise structlog.DropEvent
    event["level"] = level
    return event


def _sparing(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Only so many lines of a kind. After the filter: what the level leaves out is nothing that must be told of."""
    import structlog

    if event["level"] != "debug":
        # At debug level everything is wanted; else a salon in trouble must not fill the journal.
        error = _NUMBER[event["level"]] >= _NUMBER["error"]
        suppressed = rate.take(str(event.get("event")), event.get("company"), event.get("stream"), error=error)
        if suppressed is None:
            raise structlog.DropEvent
        if suppressed:
            event["suppressed"] = suppressed
    return event


def _context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Adds the bound context, sorted: context variables have no order, and lines should look alike."""
    import structlog

    for key, value in sorted(structlog.contextvars.get_contextvars().items()):
        event.setdefault(key, value)
    return event


def _render(_: WrappedLogger, __: str, event: EventDict) -> str | tuple[tuple[Entry], dict[str, Any]]:
    level = str(event.pop("level"))
    name = str(event.pop("event", ""))
    now = datetime.now(UTC)
    event = {key: value for key, value in event.items() if value is not None}  # nothing is said of what is not known
    match _output.style:
        case "journal":
            entry = Entry(
                {
                    "MESSAGE": _logfmt([("event", name), *event.items()]),
                    "PRIORITY": str(_PRIORITY[level]),
                    "SYSLOG_IDENTIFIER": IDENTIFIER,
                    field_name("event"): name,
                    **{field_name(key): _text(value) for key, value in event.items()},
                }
            )
            return (entry,), {}
        case "logfmt":
            stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return _logfmt([("ts", stamp), ("level", level), ("event", name), *event.items()])
        case style:
            return _console(now.astimezone(), level, name, event, colour=style == "colour")


def _logfmt(pairs: Iterable[tuple[str, object]]) -> str:
    return " ".join(f"{re.sub(r'[^A-Za-z0-9_.-]', '_', key)}={_quoted(value)}" for key, value in pairs)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)


def _quoted(value: object) -> str:
    text = _text(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return '"' + "".join(_escaped(text)) + '"'


def _escaped(text: str) -> Iterator[str]:
    """Never more than one line: what could break, reorder or colour a line is written out."""
    for char in text:
        if char in _ESCAPES:
            yield _ESCAPES[char]
        elif char.isprintable():
            yield char
        else:
            yield f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _console(now: datetime, level: str, name: str, event: EventDict, *, colour: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    keys = " ".join(f"{paint(key, '36')}={_quoted(value)}" for key, value in event.items() if value is not None)
    head = f"{paint(f'{now:%H:%M:%S}', '2')} {paint(f'{level:<8}', _COLOUR[level])}"
    return f"{head} {paint(''.join(_escaped(name)), '1')} {keys}".rstrip()


def _style(stream: TextIO, env: Mapping[str, str]) -> Style:
    """Colour on a terminal; journald's own form when `stream` is what JOURNAL_STREAM names; else logfmt."""
    try:
        if stream.isatty():
            plain = "NO_COLOR" in env or env.get("TERM") == "dumb"
            return "console" if plain else "colour"
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return "logfmt"
    return "journal" if env.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}" else "logfmt"


class _Line:
    """structlog's innermost logger: the finished line goes to the output in force now."""

    def msg(self, line: str | Entry) -> None:
        _output.write(line)

    debug = info = warning = warn = error = exception = critical = fatal = msg


class _Library(logging.Handler):
    """Other libraries' records (aiohttp, asyncio, asyncpg): the template's first line, never arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            level: Level = next((name for name in LEVELS if _NUMBER[name] >= record.levelno), "critical")
            first = template.split("\n", 1)[0]
            emit_at(level, get_logger(record.name), LIBRARY, text=first, exc_info=record.exc_info or None)
        except Exception:  # a logging handler must not raise into the library that logs
            _output.failed += 1


class _Deferred:
    """A logger that imports and configures structlog when it is first used."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        import structlog

        if _output.pending:
            _output.pending = False
            structlog.configure(
                processors=[_context, _filter, _sparing, exception_processor, redact_processor, _render],
                wrapper_class=structlog.make_filtering_bound_logger(0),
                logger_factory=_Line,
                cache_logger_on_first_use=False,
            )
        return getattr(structlog.get_logger(module=self._module), name)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `module=<name>`."""
    return cast("FilteringBoundLogger", _Deferred(name.removeprefix("ycsync.")))


def in_journal() -> bool:
    """Does what is said go to journald?"""
    return _output.style == "journal"


def last_words() -> None:
    """The process ends at once: journald may look for the sender of a datagram too late to tell whose it was, so what is said
    now goes the way of standard error, which is the unit's.
    """
    _output.leaving = True


def configure(level: str, *, stream: TextIO | None = None, env: Mapping[str, str] = os.environ, journal: Path = SOCKET) -> None:
    """Sends all logging to `stream` (else standard error) from `level` up; may be called again.

    Where `stream` leads to journald, lines go to its socket `journal`, and to `stream` if that takes none.
    """
    target = sys.stderr if stream is None else stream
    _output.stream, _output.style, _output.level = (
        stream,
        _style(target, env),
        _NUMBER[level],
    )
    _output.journal.close()
    _output.journal, _output.leaving = Journal(journal), False
    _output.pending = True
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Library):
            root.removeHandler(handler)
    root.addHandler(_Library())
    root.setLevel(logging.WARNING)
    # Requests are counted in the metrics; a line for each would hold the webhooks' secret path.
    logging.getLogger("aiohttp.access").disabled = True
