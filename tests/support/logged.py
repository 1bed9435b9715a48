"""What tests of the log share: a terminal to write to, and a fixture that puts logging back."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from ycsync import logs


class Terminal(io.StringIO):
    """A stream that takes colour."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Put logging back as it was: it belongs to the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logs.configure("info", stream=io.StringIO(), env={})
    root.handlers[:], root.level = handlers, level
    logging.getLogger("aiohttp.access").disabled = False
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
