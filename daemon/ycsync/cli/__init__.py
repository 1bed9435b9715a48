"""The command `ycsync`; its commands stand in `app`, exit codes in `common`."""

from __future__ import annotations


def main() -> None:
    """The command `ycsync`."""
    from ycsync.cli.app import app

    app()
