"""The commands, each in a module of its own that is imported when the command is used."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperGroup

from ycsync import __version__

# In the order of the help. All modules together take ten times the processor time of `--version`.
MODULES: Final = MappingProxyType(
    {
        "run": "service",
        "reload": "service",
        "sync": "sync",
        "status": "inspect",
        "verify": "inspect",
        "plan": "plan",
        "doctor": "doctor",
        "simulate": "simulate",
        "demo": "simulate",
        "pause": "database",
        "resume": "database",
        "hooks": "hooks",
        "preset": "config",
        "config": "config",
        "db": "database",
    }
)


class _OnDemand(MutableMapping[str, Any]):
    """The commands by name. A command's module is imported when its value is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = dict.fromkeys(MODULES)

    def __getitem__(self, name: str) -> Any:
        if self._made[name] is None:
            part = _group()
            import_module(f"ycsync.cli.{MODULES[name]}").register(part)
            self._made |= typer.main.get_group(part).commands
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class _Commands(TyperGroup):
    """The top group; a mistyped command is compared with the names alone."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = _OnDemand()


def _group(**options: Any) -> typer.Typer:
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, **options)


app = _group(
    name="ycsync",
    cls=_Commands,
    help="Keeps a beauty salon's YCLIENTS data in its owner's PostgreSQL.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(show: bool) -> None:
    if show:
        print(f"ycsync {__version__}")
        raise typer.Exit(0)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Keeps a beauty salon's YCLIENTS data in its owner's PostgreSQL."""
