"""What may stand in a log line? Numbers, and text without anything that looks like a person or a secret.

The catalogue's declared keys are the first guard; this is the second, for bound context and libraries too.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ycsync.errors import YcsyncError

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_PRIVATE_KEY: Final = re.compile(
    r"(?:^|_)(?:name|surname|patronymic|fullname|phones?|e?mails?|tokens?|auth|authorization|password|passwd|secrets?"
    r"|login|user|payload|body|raw|comment|card|birth_?date|headers?|cookies?|query|params?|dsn|database_url)(?:$|_)",
    re.IGNORECASE,
)
_REDACTED: Final = "[redacted]"
_PRIVATE_TEXT: Final = (
    (re.compile(r"(?i)(\bbearer|,\s*user)\s+[^\s,;\"']+"), r"\1 [redacted]"),
    (
        re.compile(r"[^\s@<>\"'=,;:/]{1,64}@[^\s@<>\"',;:/]{1,255}\.[^\W\d_]{2,}"),
        _REDACTED,
    ),  # an e-mail address
    (re.compile(r"\b([a-z][a-z0-9+]*://)[^/\s]*@"), r"\1[redacted]@"),  # user and password of a URL
    (re.compile(r"(\b[a-z][a-z0-9+]*://[^\s?]*|/[^\s?]*)\?[^\s]+"), r"\1?[redacted]"),  # a URL's query
    (re.compile(r"(/hooks/)[^/\s?]+"), r"\1[redacted]"),
    (re.compile(r"(?<![\w.+-])\+\d[\d ()-]{8,18}\d(?!\w)"), _REDACTED),  # +7 999 000-00-11
    (re.compile(r"(?<![\w.:+-])[78]9\d{9}(?![\w:])"), _REDACTED),  # 79990000011, in a text
)
_LONGEST: Final = 1000


def scrub(text: str) -> str:
    """`text` cut short, without what looks like a phone, an address, a token or a URL's query."""
    if len(text) > 4 * _LONGEST:
        # The patterns' time grows with the square of a word; and half a token is not recognised as one.
        text = text[: 4 * _LONGEST].rsplit(" ", 1)[0] + "…"
    for pattern, replacement in _PRIVATE_TEXT:
        text = pattern.sub(replacement, text)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return text


def _plain(value: object) -> object:
    """A value that may be printed: numbers stay, an exception shows its type, the rest is scrubbed."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, YcsyncError):
        return scrub(str(value))  # by contract a message for a person, without data
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(str(_plain(item)) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{_plain(item)}" for key, item in _redact_keys(value).items())
    return scrub(str(value))


def _redact_keys(keys: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        scrub(str(key)): _REDACTED if _PRIVATE_KEY.search(str(key)) and value is not None else value
        for key, value in keys.items()
    }


def redact_processor(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: _plain(value) for key, value in _redact_keys(event).items()}


def exception_processor(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replaces `exc_info` by the types of the exceptions and their frames: a message may carry a row."""
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exc_info()[1] if info is True else info
    if isinstance(error, YcsyncError):
        event.setdefault("error", error)
    if isinstance(error, BaseException):
        event["exception"] = " < ".join(type(link).__name__ for link in _chain(error))
        event["frames"] = " < ".join(_frames(error))
    return event


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen and len(seen) < 8:
        seen.append(error)
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(error: BaseException) -> Iterator[str]:
    """The innermost frames first, of the exception that came first."""
    *_, first = _chain(error)
    frames = traceback.extract_tb(first.__traceback__ or error.__traceback__)
    for frame in reversed(frames[-8:]):
        yield f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}"
