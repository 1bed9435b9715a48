"""The command `ycsync`; its commands stand in `app`, exit codes in `common`."""

from __future__ import annotations

import sys

from ycsync.service import early


def main() -> None:
    """The command `ycsync`."""
    if sys.argv[1:2] == ["run"]:
        early.listen()  # before all else: what follows takes a while to import
    from ycsync.cli.app import app

    app()
