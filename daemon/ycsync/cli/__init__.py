"""Which commands are there? Each one stands in a module of its own; exit codes are in `common`."""

from __future__ import annotations

import typer

from ycsync import __version__
from ycsync.cli import config, database, doctor, hooks, inspect, plan, service, simulate, sync

app = typer.Typer(
    name="ycsync",
    help="Keeps a beauty salon's YCLIENTS data in its owner's PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for module in (service, sync, inspect, plan, doctor, hooks, config, simulate, database):
    module.register(app)


def _version(show: bool) -> None:
    if show:
        print(f"ycsync {__version__}")
        raise typer.Exit(0)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Keeps a beauty salon's YCLIENTS data in its owner's PostgreSQL."""


def main() -> None:
    """The command `ycsync`."""
    app()
