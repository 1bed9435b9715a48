"""Which failures does ycsync name, and what does each one tell the person who meets it?

Every message says what happened, where, and what to do. Driver errors are translated into these in
`api` and `store` only. No message carries a token, a name, a phone or a body.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

NO_RIGHT: Final = "no_right"  # the error code of a stream that stopped alone, for a right that lacks


class YcsyncError(Exception):
    """A failure with a message for a person. `exit_code` is the command's exit status."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration: where it stands (1-based line, if known), which key, what to do."""

    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        key = f"{self.key}: " if self.key else ""
        return f"{where}{key}{self.message}"


class ConfigError(YcsyncError):
    """The configuration cannot be used; nothing was changed by it."""

    exit_code = 2

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class UsageError(YcsyncError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class DatabaseError(YcsyncError):
    """The database answered, but not as it must."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached or went away; the same work may be tried again."""


class NoRoom(DatabaseError):
    """The database answers and cannot store: asking again at once would only cost requests."""


class NewerSchema(DatabaseError):
    """A newer ycsync made the schema, in a way that this one would misread."""


class ForeignSchema(DatabaseError):
    """The schema holds tables that ycsync did not make; it will not touch them."""


class Fenced(DatabaseError):
    """Another worker advanced this cursor; this worker's page was dropped whole."""


class RowsRefused(DatabaseError):
    """PostgreSQL refused the rows of a page; the page must be stored row by row."""


class ApiError(YcsyncError):
    """YCLIENTS did not give the answer that was asked for."""


class Transient(ApiError):
    """A time-out, a cut connection, a 5xx or a broken body: the same request may be sent again.

    `heavy`: it failed as a page does that is too large to be made or sent in time. `slow`: that took the whole time-out.
    `unreached`: the request did not get as far as YCLIENTS.
    """

    def __init__(self, message: str, *, heavy: bool = False, slow: bool = False, unreached: bool = False) -> None:
        self.heavy = heavy
        self.slow = slow
        self.unreached = unreached
        super().__init__(message)


class Throttled(ApiError):
    """The limit was exceeded as the server counts; `wait_s` is what it asked for, in seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(message)


class AccessDenied(ApiError):
    """Token, licence or rights: this salon stops, the others go on. `status` is the HTTP status (401, 402, 403).

    `right`: only the right to one endpoint lacks, so its stream stops and the salon's others go on.
    """

    def __init__(self, message: str, status: int, *, right: bool = False) -> None:
        self.status = status
        self.right = right
        super().__init__(message)

    @property
    def code(self) -> str:
        """The error code of `sync_status`."""
        return NO_RIGHT if self.right else f"http_{self.status}"


class NotFound(ApiError):
    """404 or 410: the entity or the endpoint is not there.

    `asked_at`: before the request left, by the database's clock; `server_time`: as of `api.Page`.
    """

    def __init__(self, message: str, asked_at: datetime | None = None, server_time: datetime | None = None) -> None:
        self.asked_at = asked_at
        self.server_time = server_time
        super().__init__(message)


class Rejected(ApiError):
    """The server refuses the request as it is (400, 422, `success: false`): sending it again does not help."""


class Stopping(YcsyncError):
    """The process was asked to stop; what was in hand is committed or dropped whole."""

    exit_code = 130
