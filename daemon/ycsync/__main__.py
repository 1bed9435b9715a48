"""`python -m ycsync` is `ycsync`."""

from __future__ import annotations

from ycsync.cli import main

main()
