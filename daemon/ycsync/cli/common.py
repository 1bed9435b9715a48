"""What do all commands share: finding the settings, running a coroutine, and saying what went wrong?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from ycsync import logs
from ycsync.config import Loaded, find_config, load
from ycsync.config.secrets import hidden_folder
from ycsync.errors import ConfigError, Problem, UsageError, YcsyncError
from ycsync.service.control import Announcement, running

P = ParamSpec("P")
T = TypeVar("T")
INTERRUPTED = 130
_log = logs.get_logger(__name__)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration [default: ./config.yaml, then the installed one].", metavar="PATH"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output; its form is stable.")]


def settings_of(config: Path | None, *, level: str | None = "warning", lenient: bool = False) -> Loaded:
    """Find, read and check the configuration. `level`: of the log on stderr (None: the file's).

    `lenient`: a mistake in the file is said, and borne where it does not matter, or where a running service says which
    database it works with: see config.load. Raises ConfigError, or UsageError when another user's secrets are needed.
    """
    loaded = _leniently(find_config(config, Path.cwd())) if lenient else load(find_config(config, Path.cwd()), os.environ)
    for one in loaded.mistakes:
        print(f"ycsync: {loaded.path}: {one}", file=sys.stderr)
    if loaded.borrowed:
        said = "the database and the egress are those that the running service works with until it is restarted."
        print(f"ycsync: {said}", file=sys.stderr)
    if loaded.hidden is not None:
        raise UsageError(f"{loaded.hidden} holds the secrets and may be read by root only: run this command with sudo.")
    logs.configure(level or loaded.settings.log.level)
    return loaded


def _leniently(path: Path) -> Loaded:
    services = running(path)
    in_force = next((one.in_force for one in services if one.in_force is not None), None)
    try:
        return load(path, os.environ, lenient=True, in_force=in_force)
    except ConfigError as error:
        if not services and (hidden := hidden_folder(os.environ, path.absolute().parent)) is not None:
            # What an ordinary user does not see is not "no service".
            told = f"{hidden} may be read by root only, and the service asked by root only: run this command with sudo"
            raise ConfigError(error.source, (*error.problems, Problem(None, "", told))) from None
        # Whoever wants to stop the requests must not have to mend a file first.
        raise ConfigError(error.source, (*error.problems, Problem(None, "", _without_the_file(services)))) from None


def _without_the_file(services: tuple[Announcement, ...]) -> str:
    if services:
        return "a service runs on with its old settings. `systemctl stop ycsync` stops it, whatever the file says"
    return (
        "no service runs with this file on this machine. Should one run all the same, `systemctl stop ycsync` stops it, "
        "whatever the file says"
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine on uvloop."""
    # Commands that only read or edit the file need neither.
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a function that returns an exit code (None: 0) and raises YcsyncError into a command.

    0 done and complete · 1 not complete or failed · 2 usage or configuration · 130 interrupted, progress kept.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        logs.configure("warning")
        if isinstance(sys.stdout, TextIOWrapper):
            # A salon's title may have letters that the locale has not: rather a "?" than no answer.
            sys.stdout.reconfigure(errors="replace")
        try:
            code = function(*args, **kwargs)
        except YcsyncError as error:
            _say(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("ycsync: interrupted; what was committed is kept, the next run goes on from there.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has seen enough (`ycsync status | head`).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            told = _first(error)
            if told is None:
                # Not Python's own traceback: the message of an exception may hold a row.
                logs.last_words()
                logs.emit(_log, logs.UNEXPECTED, task=function.__name__, error=error, exc_info=error)
                raise typer.Exit(1) from None
            _say(told)
            raise typer.Exit(told.exit_code) from None
        raise typer.Exit(code or 0)

    return wrapped


def _first(error: Exception) -> YcsyncError | None:
    """Of several tasks that ended together, all with errors of ours, the first one's."""
    if isinstance(error, YcsyncError):
        return error
    if not isinstance(error, ExceptionGroup):
        return None
    found = [_first(one) for one in error.exceptions]
    return found[0] if all(found) else None


def _say(error: YcsyncError) -> None:
    """To whoever waits for the command; where that is journald, with the priority of an error."""
    if not logs.in_journal():
        print(f"ycsync: {error}", file=sys.stderr)
        return
    logs.last_words()
    if isinstance(error, ConfigError):
        for one in error.problems:
            logs.emit(_log, logs.CONFIG_REJECTED, file=error.source, line=one.line, key=one.key, problem=one.message)
    else:
        logs.emit(_log, logs.SERVICE_FAILED, error=error)


def colour(stream: Any = None) -> bool:
    """Colour and progress bars only on a terminal that wants them."""
    stream = sys.stdout if stream is None else stream
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
