"""How does ycsync reach its database, and what does each failure of the driver mean to a person?

Nothing is kept in a session (no LISTEN, no session locks, no SET, no temporary table), so it works through a pooler that gives
each transaction another one. What a session would still hold there, prepared statements, is given up where a pooler is found:
behind it the process that answers is not the one that greeted. A pooler that refuses transactions is refused at the start.

A database that hangs must not hold whoever waits for it: what is not answered in time is cut, and the connections opened before
are not used again. The same after "read-only": a session that began on what is a standby now would stay there; and after
the server ended one: it may be ending them all.
"""

from __future__ import annotations

import asyncio
import copy
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg import exceptions as pg
from asyncpg.transaction import Transaction

from ycsync import sql
from ycsync.errors import DatabaseError, DatabaseUnavailable, NoRoom, RowsRefused

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Isolation = Literal["read_committed", "read_uncommitted", "serializable", "repeatable_read"]
COMMAND_TIMEOUT_S = 60.0
ACQUIRE_S = 30.0  # for a free connection: all are in use, or a new one is opened
RELEASE_S = 0.15  # for a cancelled statement to end; then its connection is cut
SILENCE_S = (
    1.0  # after such a cut: so long nobody waits for the database longer than HASTE_S, or an end would take several waits
)
HASTE_S = 0.2
STATEMENTS = 200  # prepared ones a connection keeps
URL_KEY = "database.url"  # where the address stands, if nothing else is known to say it
# A machine that is cut off says no good-bye: what its session holds (the rows of the page that it was storing, above all) is
# free again after so long, and not when the server's system misses it, which takes two hours.
IDLE_S = 15
_OPTIONS = {
    "application_name": "ycsync",
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
# In each transaction: at a pooler a session's options are not ours. Where the role has a limit of its own, that one holds.
_IDLE_SQL = (
    f"select set_config('idle_in_transaction_session_timeout', '{IDLE_S}s', true) "
    "where current_setting('idle_in_transaction_session_timeout') = '0'"
)
_FOREIGN_OPTIONS = ("pgbouncer", "connection_limit", "pool_timeout")  # other programs' words in a URL; PostgreSQL refuses them

_GONE = (
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.ReadOnlySQLTransactionError,
    pg.IdleInTransactionSessionTimeoutError,
    pg.TransactionTimeoutError,
    pg.InsufficientResourcesError,
    pg.InvalidCatalogNameError,
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCachedStatementError,
    pg.ConnectionDoesNotExistError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.TransactionRollbackError,
    pg.LockNotAvailableError,
    pg.PostgresSystemError,
)
_REFUSED = (
    pg.DataError,
    pg.IntegrityConstraintViolationError,
    pg.ProgramLimitExceededError,
)
# Every connection that is open now may be as bad.
_STALE = (
    TimeoutError,
    OSError,
    pg.ReadOnlySQLTransactionError,
    pg.PostgresConnectionError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.IdleInTransactionSessionTimeoutError,
    # The same end, when the server's last word came before the question: the driver finds itself in a state of its own.
    pg.InternalClientError,
    pg.InterfaceError,
)
_LOST_STATEMENT = (pg.InvalidSQLStatementNameError, pg.DuplicatePreparedStatementError)
# What the server or a pooler says before it knows who asks: no value of a row can be in it.
_TOLD = (pg.PostgresConnectionError, pg.CannotConnectNowError, pg.InsufficientResourcesError)
_SAID = (
    (
        pg.ReadOnlySQLTransactionError,
        "the database is read-only (a standby, a failover, or a full disk). It goes on by itself.",
    ),
    (
        pg.QueryCanceledError,
        "a statement was cancelled: it took longer than the role's statement_timeout, or somebody ended it.",
    ),
    (pg.LockNotAvailableError, "a statement waited longer for a lock than the role's lock_timeout."),
    (pg.TransactionRollbackError, "a transaction met another one and was rolled back; it is tried again."),
    (pg.TooManyConnectionsError, "the database has no free connection. Raise max_connections, or use fewer programs."),
    (TimeoutError, "the database does not answer."),
)


def without_secret(url: str) -> str:
    """The URL without its password, for messages."""
    url = re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", url)  # up to the last @: a password may hold one by mistake
    return re.sub(r"(?i)([?&][^=&]*password=)[^&]*", r"\1***", url)


@contextmanager
def translated(where: str, url_from: str = URL_KEY) -> Iterator[None]:
    """Turn the driver's errors into ours; `where`: the address without a password, `url_from`: what says it."""
    try:
        yield
    except _REFUSED as exc:
        # The message may quote a value; the state and the column do not.
        column = getattr(exc, "column_name", None)
        raise RowsRefused(f"PostgreSQL refused a value ({type(exc).__name__}{f', {column}' if column else ''})") from exc
    except pg.InvalidPasswordError as exc:
        raise DatabaseUnavailable(f"{where}: the password or role is not accepted. {_with_password(url_from)}") from exc
    except pg.InternalServerError as exc:
        if "tenant or user not found" not in str(exc).lower():
            raise DatabaseError(f"{where}: the database refused a statement ({type(exc).__name__}).") from exc
        raise DatabaseUnavailable(
            f"{where}: Supabase's pooler knows no such project or user. The user there is called <role>.<project ref>, and the "
            "region in the host name must be the project's: copy the URL from Connect in its dashboard."
        ) from exc
    except pg.InvalidCatalogNameError as exc:
        raise DatabaseUnavailable(f"{where}: there is no such database. Create it, or correct {url_from}.") from exc
    except pg.InsufficientPrivilegeError as exc:
        if "could not open file" in str(exc):  # the server's right, not the role's: the same SQLSTATE
            raise DatabaseUnavailable(
                f"{where}: the server may not open its own files. If it is the private one, the service was started while this "
                "command ran, and has them now: end this command and ask again."
            ) from exc
        raise DatabaseError(
            f"{where}: the role lacks a right ({exc.args[0] if exc.args else 'permission denied'}). "
            "Grant it CREATE on the database, or own the schema."
        ) from exc
    except _LOST_STATEMENT as exc:
        raise DatabaseError(
            f"{where}: a prepared statement is not where it was made: a pooler in transaction mode stands before the database, "
            "and was not recognised. Add ?pgbouncer=true to the URL."
        ) from exc
    except pg.DiskFullError as exc:
        raise NoRoom(f"{where}: the database's disk is full. Make room; it is tried again by itself.") from exc
    except _GONE as exc:
        raise DatabaseUnavailable(f"{where}: {_said(exc, url_from)}") from exc
    except pg.PostgresError as exc:
        raise DatabaseError(f"{where}: the database refused a statement ({type(exc).__name__}).") from exc


def _with_password(url_from: str) -> str:
    if url_from.startswith(URL_KEY):  # where no password may stand
        return "Set YCSYNC_DATABASE_URL (or the credential database_url) to a URL with the right role and password."
    return f"Correct the URL in {url_from}."


def _said(exc: BaseException, url_from: str) -> str:
    for kind, text in _SAID:
        if isinstance(exc, kind):
            return text
    told = f": {exc.args[0]}" if isinstance(exc, _TOLD) and exc.args else ""
    return f"the database cannot be reached ({type(exc).__name__}{told}). Is it running, and is {url_from} right?"


class _Transaction(Transaction):
    """A transaction that does not wait for an answer that did not come: the server rolls back when the connection is cut."""

    def __init__(self, session: _Session, isolation: Isolation | None, readonly: bool, deferrable: bool) -> None:
        super().__init__(session, isolation, readonly, deferrable)
        self._session = session

    async def __aexit__(self, extype: object, ex: object, tb: object) -> None:
        if isinstance(ex, (TimeoutError, asyncio.CancelledError)):
            self._session.terminate()
        if ex is not None and self._session.is_closed():
            return  # what happened is raised, not that nothing can be rolled back any more
        await super().__aexit__(extype, ex, tb)


class _Session(asyncpg.Connection):
    """A connection in which nothing is kept, so nothing has to be reset."""

    def get_reset_query(self) -> str:
        """Nothing: it would be one more question after each statement."""
        return ""

    def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """A transaction, or a savepoint in one."""
        return _Transaction(self, isolation, readonly, deferrable)


@dataclass(slots=True)
class _Silence:
    """When a connection was cut last because nothing came, on the monotonic clock."""

    noticed: float = -math.inf


class Database:
    """A pool of connections to one schema; every failure comes out as one of `errors`.

    `within_s`: so long a statement may take. `observe`: told after each use of a connection what for (`named`), and how many
    seconds.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        where: str,
        within_s: float = COMMAND_TIMEOUT_S,
        silence: _Silence | None = None,
        door: _Door | None = None,
        url_from: str = URL_KEY,
        observe: Callable[[str, float], None] = lambda _operation, _seconds: None,
    ) -> None:
        self.pool = pool
        self.schema = schema
        self.where = where
        self._within_s = within_s
        self._silence = _Silence() if silence is None else silence
        self._door = door
        self.url_from = url_from
        self._observe = observe
        self._operation = "other"

    def within(self, seconds: float) -> Database:
        """The same pool, for statements that are small: who does not answer so soon hangs."""
        other = copy.copy(self)
        other._within_s = seconds
        return other

    def named(self, operation: str) -> Database:
        """The same pool, its time counted for this operation (one of metrics.OPERATIONS)."""
        other = copy.copy(self)
        other._operation = operation
        return other

    @property
    def pooled(self) -> bool:
        """Does a pooler stand between?"""
        return self._door is not None and self._door.pooled

    @property
    def patience_s(self) -> float:
        """So long a statement may take now."""
        silent = time.monotonic() - self._silence.noticed < SILENCE_S
        return min(self._within_s, HASTE_S) if silent else self._within_s

    def statements(self, file: str) -> Mapping[str, str]:
        """The named statements of one .sql file, for this schema."""
        return sql.load(file, self.schema)

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows of one statement."""
        async with self._connection() as connection:
            return list(await connection.fetch(query, *args, timeout=self.patience_s))

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row of one statement, if any."""
        async with self._connection() as connection:
            return await connection.fetchrow(query, *args, timeout=self.patience_s)

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first value of the first row, if any."""
        async with self._connection() as connection:
            return await connection.fetchval(query, *args, timeout=self.patience_s)

    async def execute(self, query: str, *args: object) -> None:
        """One statement whose rows do not matter."""
        async with self._connection() as connection:
            await connection.execute(query, *args, timeout=self.patience_s)

    @asynccontextmanager
    async def transaction(self, *, reading: bool = False) -> AsyncIterator[Connection]:
        """A connection inside a transaction: all of it commits, or nothing. `reading`: it only reads, of one moment."""
        async with self._connection() as connection:
            isolation: Literal["repeatable_read"] | None = "repeatable_read" if reading else None
            async with connection.transaction(isolation=isolation, readonly=reading):
                if not reading:
                    await connection.execute(_IDLE_SQL)
                yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        begun = time.perf_counter()
        try:
            with translated(self.where, self.url_from):
                connection = await self.pool.acquire(timeout=min(ACQUIRE_S, self.patience_s))
                try:
                    yield connection
                finally:
                    await self._release(connection)
        except DatabaseUnavailable as exc:
            if isinstance(exc.__cause__, _STALE):
                with suppress(pg.InterfaceError):  # the pool is closed
                    await self.pool.expire_connections()
            raise
        finally:
            self._observe(self._operation, time.perf_counter() - begun)

    async def _release(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        # What was done is done: a connection that cannot be used again is the next one's affair.
        try:
            await self.pool.release(connection, timeout=RELEASE_S)
        except TimeoutError:
            self._silence.noticed = time.monotonic()
        except (*_GONE, pg.PostgresError):
            pass

    async def close(self) -> None:
        """Give the connections back; those that hang are cut."""
        try:
            await asyncio.wait_for(self.pool.close(), RELEASE_S)
        except (TimeoutError, *_GONE):
            self.pool.terminate()


async def connect(
    url: str,
    schema: str,
    *,
    size: int = 8,
    timeout_s: float = 10.0,
    url_from: str = URL_KEY,
    observe: Callable[[str, float], None] = lambda _operation, _seconds: None,
) -> Database:
    """Open the pool and prove that the database answers.

    `url`: a PostgreSQL URL; `url_from`: what to correct where it is wrong; `observe`: see Database. Raises DatabaseUnavailable
    or DatabaseError with what to do.
    """
    # As store.embedded writes its address: nobody looks for anything there.
    where = "the private PostgreSQL" if "@/postgres?host=%2F" in url else without_secret(url)
    try:
        door = _Door.of(url, timeout_s)
        # No least number of connections: the driver would restore it by itself, and log each failure with its stack.
        pool = await asyncpg.create_pool(
            connect=door.open,
            connection_class=_Session,
            min_size=0,
            max_size=size,
            max_inactive_connection_lifetime=300,
        )
        with translated(where, url_from):
            await pool.release(await pool.acquire(timeout=timeout_s))
    except ValueError as exc:
        raise DatabaseUnavailable(f"{where}: this is not a PostgreSQL URL that can be used. Correct {url_from}.") from exc
    except _NoTransactions as exc:
        raise DatabaseError(
            f"{where}: the pooler gives each statement another session (PgBouncer's pool_mode = statement) and refuses "
            "transactions; ycsync cannot store a page whole there. Use pool_mode = transaction or session, or connect directly."
        ) from exc
    return Database(pool, schema, where, door=door, url_from=url_from, observe=observe)


class _NoTransactions(Exception):
    """The pooler refuses transactions."""


@dataclass(slots=True)
class _Door:
    """How a connection is opened, to the first of the URL's hosts that will do; it learns what the server does not take."""

    urls: tuple[str, ...]
    timeout_s: float
    pooled: bool
    options: dict[str, str] | None
    proved: bool = False  # a pooler was seen to keep a transaction together

    @classmethod
    def of(cls, url: str, timeout_s: float) -> _Door:
        """Raises ValueError."""
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        # Supabase's transaction pooler, or the user says so: then nothing of a session is tried at all.
        pooled = asked.get("pgbouncer") == "true" or _port(url) == 6543
        if asked.keys() & set(_FOREIGN_OPTIONS):
            kept = {key: value for key, value in asked.items() if key not in _FOREIGN_OPTIONS}
            parts = parts._replace(query=urlencode(kept, safe="/,:"))
        who, at, hosts = parts.netloc.rpartition("@")
        # The driver tries all hosts within one time-out: one that hangs would leave nothing for the next.
        urls = [urlunsplit(parts._replace(netloc=f"{who}{at}{host}")) for host in hosts.split(",")]
        return cls(tuple(urls), timeout_s / len(urls), pooled, None if pooled else dict(_OPTIONS))

    async def open(self, *_: object, **pool: Any) -> asyncpg.Connection:
        """One connection, for the pool."""
        failure: BaseException | None = None
        for url in self.urls:
            try:
                return await self._open(url, pool)
            except (OSError, TimeoutError, pg.CannotConnectNowError, pg.TargetServerAttributeNotMatched) as exc:
                failure = exc
        assert failure is not None
        raise failure

    async def _open(self, url: str, pool: dict[str, Any]) -> asyncpg.Connection:
        while True:
            try:
                session = await self._session(url, pool)
            except pg.ProtocolViolationError as exc:
                if self.options is None or "startup parameter" not in str(exc):
                    raise
                self.options = None  # PgBouncer knows few parameters
                continue
            try:
                async with asyncio.timeout(self.timeout_s):
                    if not self.pooled and await _is_pooled(session):
                        self.pooled = True
                        session.terminate()
                        continue
                    if self.pooled and not self.proved:
                        await _prove_transactions(session)
                        self.proved = True
            except BaseException:
                session.terminate()
                raise
            return session

    async def _session(self, url: str, pool: dict[str, Any]) -> asyncpg.Connection:
        return await asyncpg.connect(
            url,
            timeout=self.timeout_s,
            command_timeout=COMMAND_TIMEOUT_S,
            statement_cache_size=0 if self.pooled else STATEMENTS,
            server_settings=self.options,
            **pool,
        )


async def _is_pooled(session: asyncpg.Connection) -> bool:
    """Does somebody stand between who gives sessions out? Then another process answers than the one that greeted."""
    # Not prepared: at a pooler the name would stay behind, in a session of somebody else's.
    return await session.execute(f"select where pg_backend_pid() <> {session.get_server_pid()}") != "SELECT 0"


async def _prove_transactions(session: asyncpg.Connection) -> None:
    """Raises _NoTransactions when statements that belong together cannot be kept together."""
    try:
        async with session.transaction():
            await session.execute("select 1")
    except pg.PostgresConnectionError as exc:
        if "transaction block" in str(exc):
            raise _NoTransactions from exc
        raise


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
