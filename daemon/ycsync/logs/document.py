"""The event catalogue as a page: `python -m ycsync.logs.document > docs/events.md`."""

from __future__ import annotations

from collections.abc import Iterator

from ycsync.logs.catalogue import CATALOGUE, COMMON_KEYS, KEYS, Event
from ycsync.logs.journal import field
from ycsync.logs.rate import ALL_BURST, ALL_EVERY_S, BURST, EVERY_S

_HEAD = f"""\
# Events

Made from the code by `python -m ycsync.logs.document`; a test compares.

Everything that ycsync says is one of these events. In journald each value is a field of its own: the event in `YCSYNC_EVENT`,
the key `company` in `YCSYNC_COMPANY`, and so on. Elsewhere a line is logfmt: `event=batch.committed company=4001 …`.

```sh
journalctl -u ycsync -p warning                        # warnings and errors
journalctl -u ycsync YCSYNC_EVENT=batch.failed
journalctl -u ycsync YCSYNC_COMPANY=4001 -o verbose -n 1
```

Priorities: error 3, warning 4, info 6, debug 7. `log.level` in `config.yaml` says from which level on lines are written; debug
tells every page. No line holds a name, a phone, an address, a token or a body of an answer.

Of one event, salon and stream {BURST} lines are written at once and then one every {EVERY_S:.0f} s; of one event of all salons
together {ALL_BURST} at once and then {60 / ALL_EVERY_S:.0f} a minute. An error that is the first of its event, salon and stream
for an hour is written whatever the others wrote: when the token of 1,000 salons ends, each salon is named. What was left out is
counted, also through a reload, and told as `suppressed`: by the next line of that event, salon and stream, or, where all salons
together had too many, by the next line of that event from any of them. Lines of level debug are never left out.
"""


def document() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Errors and warnings\n"
    yield "| Event | Level | What happened | What to do | Keys |"
    yield "|---|---|---|---|---|"
    order = ("error", "warning")
    for event in sorted(
        (one for one in CATALOGUE.values() if one.level in order), key=lambda one: (order.index(one.level), one.name)
    ):
        yield f"| `{event.name}` | {event.level} | {event.meaning} | {event.action} | {_keys(event)} |"
    yield "\n## Everything else\n"
    yield "| Event | Level | What happened | Keys |"
    yield "|---|---|---|---|"
    for event in sorted((one for one in CATALOGUE.values() if one.level not in order), key=lambda one: one.name):
        yield f"| `{event.name}` | {event.level} | {event.meaning} | {_keys(event)} |"
    yield "\n## Keys\n"
    common = [key for key in COMMON_KEYS if key in KEYS]
    yield f"Any event may also carry {', '.join(f'`{key}`' for key in common)}; a fault carries `exception` and `frames`, each"
    yield "line `module`.\n"
    yield "| Key | In journald | What it is |"
    yield "|---|---|---|"
    for key, meaning in sorted(KEYS.items()):
        yield f"| `{key}` | `{field(key)}` | {meaning} |"


def _keys(event: Event) -> str:
    return ", ".join(f"`{key}`" for key in event.keys)


if __name__ == "__main__":
    print(document(), end="")
