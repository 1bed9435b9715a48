"""Comparison of an output with its golden file, and placeholders for what varies.

A golden file in `tests/golden/expected` is an output that changes on purpose only. A placeholder
such as `<time>` or `<n>` stands for a value that differs from run to run, or with the number of
requests of a pass.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parent / "expected"
ACCEPT = "./deploy/test tests/golden --accept"
Golden = Callable[[str, str], None]
"""The fixture of that name: takes the name of a file and what it should hold."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def compare(name: str, text: str, *, accept: bool) -> str:
    """Return the difference as a message, empty if there is none. `accept`: rewrite the file."""
    path = FOLDER / name
    text = text if text.endswith("\n") else text + "\n"
    before = path.read_text("utf-8") if path.exists() else ""
    if text == before:
        return ""
    if accept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return ""
    shown = str(path.relative_to(FOLDER.parents[2]))
    lines = difflib.unified_diff(
        before.splitlines(), text.splitlines(), shown, "as it is now", lineterm=""
    )
    return "\n".join(
        (
            f"{shown} differs from the program's output:",
            *lines,
            "",
            f"If the change is intended: {ACCEPT}",
            "rewrites the file; check the diff and commit it. Otherwise mend the program.",
        )
    )


# --- JSON -----------------------------------------------------------------------------------------

VARYING: Mapping[str, str] = {
    "at": "<time>",
    "as_of": "<time>",
    "clock": "<time>",
    "since": "<time>",
    "oldest": "<time>",
    "median": "<time>",
    "started_at": "<time>",
    "finished_at": "<time>",
    "last_success_at": "<time>",
    "proved_as_of": "<time>",
    "lag_s": "<seconds>",
    "pid": "<pid>",
    "version": "<version>",
    "address": "<address>",
    # What the number of requests decides, or the order in which they were answered.
    "id": "<n>",
    "requests": "<n>",
    "second": "<n>",
    "minute": "<n>",
    "batches": "<n>",
}
"""Keys of JSON objects whose value is replaced, if it is a text or a number."""


def as_json(document: object) -> str:
    """Return the document as JSON, keys in their order, with placeholders."""
    return json.dumps(_normalised(document), ensure_ascii=False, indent=2)


def _normalised(value: object, key: str = "") -> object:
    match value:
        case dict():
            return {name: _normalised(one, name) for name, one in value.items()}
        case list() if key in VARYING and value:
            return [VARYING[key]]
        case list():
            return [_normalised(one) for one in value]
        case int() if key == "version":
            return "<n>"
        case str() | int() | float() if key in VARYING and not isinstance(value, bool):
            return VARYING[key]
        case str():
            return _TIME.sub("<time>", value)
        case _:
            return value


# --- text -----------------------------------------------------------------------------------------


def as_text(text: str, replaced: Mapping[str, str]) -> str:
    """Return the text with each key of `replaced`, a regular expression, replaced by its value."""
    for pattern, placeholder in replaced.items():
        text = re.sub(pattern, placeholder, text, flags=re.MULTILINE)
    return text


def as_table(text: str, header: str, placeholders: Mapping[str, str]) -> str:
    """Return the text with the columns of `placeholders` replaced in the table below `header`.

    The widths of columns depend on their values, so columns are separated by two spaces.
    """
    lines = text.splitlines()
    first = lines.index(next(line for line in lines if line.split() == header.split()))
    last = next((n for n in range(first, len(lines)) if not lines[n]), len(lines))
    columns = re.split(r"\s{2,}", lines[first])
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[first:last]]
    for row in rows[1:]:
        for n, column in enumerate(columns):
            row[n] = placeholders.get(column, row[n]) if row[n] != "-" else row[n]
    return "\n".join((*lines[:first], *("  ".join(row) for row in rows), *lines[last:]))


# --- metrics --------------------------------------------------------------------------------------


def as_metrics(text: str, kept: Iterable[str]) -> str:
    """Return each family with type and help, its series with labels, and the values of `kept`."""
    return "\n".join(_families(text, frozenset(kept)))


def _families(text: str, kept: frozenset[str]) -> Iterator[str]:
    for family in text_string_to_metric_families(text):
        yield f"{family.name} ({family.type}): {family.documentation}"
        # Series that differ in their last label only share a line.
        lines: dict[str, list[str]] = {}
        for sample in family.samples:
            value = f"{sample.value:g}" if family.name in kept else ""
            *outer, last = sample.labels.items() or (("", ""),)
            head = " ".join((sample.name, *(f"{key}={label}" for key, label in outer), last[0]))
            label = "<version>" if last[0] == "version" else last[1]
            lines.setdefault(head, []).append(" ".join(filter(None, (label, value))))
        yield from (
            f"    {head.strip()}: {', '.join(told)}".rstrip(": ") for head, told in lines.items()
        )


# --- log ------------------------------------------------------------------------------------------

_PAIR = re.compile(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|\S*)')


def pairs(line: str) -> dict[str, str]:
    """Return the keys and values of a line in logfmt, as they are written."""
    return {key: value for key, value in _PAIR.findall(line)}


def as_log(text: str, varying: Mapping[str, Iterable[str]]) -> str:
    """Return the lines of a log grouped by salon and stream, in their order.

    `varying`: the keys of each event whose value is replaced ("*": of every event). Repeated
    equal lines are dropped.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines():
        told = pairs(line)
        names = {*varying.get("*", ()), *varying.get(told["event"], ())}
        said = " ".join(
            f"{key}={f'<{key}>' if key in names else value}" for key, value in told.items()
        )
        lines = found.setdefault((told.get("company", ""), told.get("stream", "")), [])
        if not lines or lines[-1] != said:
            lines.append(said)
    return "\n\n".join("\n".join(found[key]) for key in sorted(found))


def sections(parts: Iterable[tuple[str, Any]]) -> str:
    """Return several texts as one, each below its title."""
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts)
