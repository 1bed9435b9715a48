"""Run several commands of ycsync in one process: `python -m golden.several CONFIG COMMAND...`.

It prints one JSON object: for each command its exit code and what it wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from filled import call


def main(config: Path, commands: list[str]) -> None:
    """Each command is one argument."""
    found = {}
    for command in commands:
        done = call(config, *command.split())
        found[command] = {"code": done.exit_code, "out": done.stdout, "err": done.stderr}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
