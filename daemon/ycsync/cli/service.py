"""`ycsync run` and `ycsync reload`: the service in the foreground, and making a running one read its settings again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ycsync import logs
from ycsync.cli.common import ConfigOption, command
from ycsync.cli.common import run as run_loop
from ycsync.config import find_config, parse_settings
from ycsync.config.files import read_text
from ycsync.errors import ConfigError
from ycsync.service.control import ReloadFailed, ReloadRefused, reload_service

if TYPE_CHECKING:
    from ycsync.config import Loaded
    from ycsync.notify import Notifier
    from ycsync.service.runtime import Server


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("reload")(reload)


@command
def run(config: ConfigOption = None) -> int:
    """The service, in the foreground, as systemd starts it."""
    from ycsync.service.daemon import Daemon, serve  # `reload` needs nothing of the service

    def live(loaded: Loaded, server: Server, notifier: Notifier, url: str) -> int:
        async def main() -> int:
            return await Daemon(loaded, server, notifier).run(url)

        return run_loop(main())

    return serve(find_config(config, Path.cwd()), live, dict(os.environ))


@command
def reload(config: ConfigOption = None) -> int:
    """Check the configuration, make the running service take it, and wait until it has. A bad file changes nothing."""
    path = find_config(config, Path.cwd())
    try:
        # The settings only: systemd does not show the credentials to an ExecReload= command.
        parse_settings(read_text(path), str(path))
    except ConfigError:
        # The service refuses it too, and from then on says so in its log and in `status`.
        try:
            reload_service(path)
        except ReloadRefused:
            if logs.in_journal():  # where each mistake stands by now
                raise typer.Exit(ConfigError.exit_code) from None
        except ReloadFailed:
            pass
        raise
    told = reload_service(path)
    if told is None:
        print(f"No service runs with {path}; there is nothing to reload.")
        return 1
    print(told)
    return 0
