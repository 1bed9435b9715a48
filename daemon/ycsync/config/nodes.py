"""What does a YAML text say, and on which line? A reader that collects all problems, not only the first.

It walks the node tree of `yaml.compose`, because the usual dicts have forgotten their lines, let a later
duplicate key win in silence, and turn `22:00` into the number 1320.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

import yaml

from ycsync.config.durations import format_duration, parse_duration
from ycsync.errors import Problem, UsageError

T = TypeVar("T")
_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
SECRET_KEY: Final = re.compile(r"token|password|passwd|secret|login|api_?key", re.IGNORECASE)
NO_SECRETS: Final = (
    "secrets are not kept in this file (it is safe to commit): set YCLIENTS_PARTNER_TOKEN, "
    "YCLIENTS_USER_TOKEN or YCSYNC_DATABASE_URL in the environment, or use systemd's LoadCredential="
)


def shown(text: str) -> str:
    """A value as an error may quote it: one line, cut short, control characters escaped."""
    return ascii(text[:40] + "…") if len(text) > 40 else (repr(text) if text.isprintable() else ascii(text))


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def compose(text: str) -> tuple[yaml.Node | None, Problem | None]:
    """The root node (None for an empty text), or why the text is not YAML."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return None, Problem(line, "", "a character that YAML does not allow: remove it (is this a text file?)")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_or_none = mark.line + 1 if mark is not None else None
        if error.problem is not None and r"'\t'" in error.problem:
            return None, Problem(line_or_none, "", "a tab stands here: YAML wants spaces")
        what = " ".join(part for part in (error.context, error.problem) if part)
        return None, Problem(line_or_none, "", f"not valid YAML: {what}; check the indentation and the quotes")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        return None, Problem(None, "", f"not valid YAML: {type(error).__name__}; check escapes and quotes")
    except RecursionError:
        return None, Problem(None, "", "nested too deeply for a configuration; see the shipped config.yaml")


@dataclass(slots=True)
class Section:
    """One mapping of the file while it is read; `problems` is shared by all sections of the file."""

    path: str  # "" for the whole file, else as in "yclients"
    entries: Mapping[str, tuple[yaml.Node, yaml.Node]]
    problems: list[Problem]
    line: int | None = None
    _seen: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, node: yaml.Node | None, path: str, problems: list[Problem]) -> Section:
        """The mapping `node`; none, or an empty value, is an empty mapping."""
        if node is None or node.tag == _TAG + "null":
            return cls(path, {}, problems)
        if not isinstance(node, yaml.MappingNode):
            what = "this section" if path else "the file"
            problems.append(Problem(line_of(node), path, f"{what} must hold `key: value` lines"))
            return cls(path, {}, problems, line_of(node))
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problems.append(Problem(line_of(key), path, "a key must be a plain word"))
            elif key.value in entries:
                first = line_of(entries[key.value][0])
                name = f"{path}.{key.value}" if path else key.value
                message = f"given twice (first on line {first}): keep one of the two"
                problems.append(Problem(line_of(key), _key_shown(name), message))
            else:
                entries[key.value] = (key, value)
        return cls(path, entries, problems, line_of(node))

    def name(self, key: str) -> str:
        return _key_shown(f"{self.path}.{key}" if self.path else key)

    def report(self, key: str, message: str) -> None:
        """A problem with this key's value, at its line (the section's, if the key is not written)."""
        entry = self.entries.get(key)
        self.problems.append(Problem(line_of(entry[1]) if entry else self.line, self.name(key), message))

    def has(self, key: str) -> bool:
        return key in self.entries

    def section(self, key: str) -> Section:
        self._seen.add(key)
        entry = self.entries.get(key)
        return Section.of(entry[1] if entry else None, self.name(key), self.problems)

    def value(self, key: str, default: T, read: Callable[[yaml.ScalarNode], T]) -> T:
        """`read(node)` for the key's scalar; the default if it is not there or (reported) not usable."""
        self._seen.add(key)
        if key not in self.entries:
            return default
        node = self.entries[key][1]
        if not isinstance(node, yaml.ScalarNode):
            self.report(key, "must be one value, not a list or a section")
            return default
        try:
            return read(node)
        except UsageError as error:
            self.report(key, str(error))
            return default

    def items(self, key: str) -> tuple[yaml.Node, ...]:
        """The nodes of a list; nothing, or an empty value, is an empty list."""
        self._seen.add(key)
        entry = self.entries.get(key)
        if entry is None or entry[1].tag == _TAG + "null":
            return ()
        if not isinstance(entry[1], yaml.SequenceNode):
            self.report(key, "must be a list, as in [4001, 4002]")
            return ()
        return tuple(entry[1].value)

    def reject_unknown(self, what: str = "key") -> None:
        """Reports every key that nobody asked for."""
        for name, (key, _) in self.entries.items():
            if name in self._seen:
                continue
            if name == "<<":
                message = "merge keys are not supported: write the values out"
            elif SECRET_KEY.search(name):
                message = NO_SECRETS
            else:
                message = f"unknown {what}: {did_you_mean(name, sorted(self._seen))}"
            self.problems.append(Problem(line_of(key), self.name(name), message))


def _key_shown(key: str) -> str:
    return key if key.isprintable() and len(key) <= 80 else ascii(key[:80])


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """A hint: the nearest allowed word first, then all of them."""
    choices = list(allowed)
    near = difflib.get_close_matches(word[:80], choices, n=1)
    listed = "allowed: " + ", ".join(choices)
    return f"did you mean `{near[0]}`? ({listed})" if near else listed


def is_null(node: yaml.Node) -> bool:
    return node.tag == _TAG + "null"


def is_false(node: yaml.ScalarNode) -> bool:
    return node.tag == _TAG + "bool" and node.value.lower() in {"false", "no", "off"}


def text(node: yaml.ScalarNode) -> str:
    """A non-empty text of printable characters, as written."""
    if is_null(node) or not node.value.strip():
        raise UsageError("has no value: give one, or remove the line for the default")
    if not node.value.isprintable():
        raise UsageError("holds a line break or a control character: write it on one line")
    value: str = node.value.strip()
    return value


def integer(low: int, high: int) -> Callable[[yaml.ScalarNode], int]:
    """A reader of whole numbers from `low` to `high`, both included."""

    def read(node: yaml.ScalarNode) -> int:
        if is_null(node):
            raise UsageError(f"has no value: give a whole number from {low} to {high}")
        if not _INTEGER.fullmatch(node.value) or not low <= int(node.value) <= high:
            raise UsageError(f"must be a whole number from {low} to {high}, not {shown(node.value)}")
        return int(node.value)

    return read


def duration(low: timedelta, high: timedelta) -> Callable[[yaml.ScalarNode], timedelta]:
    """A reader of durations from `low` to `high`, both included."""

    def read(node: yaml.ScalarNode) -> timedelta:
        value = parse_duration(text(node))
        if not low <= value <= high:
            limits = f"{format_duration(low)} to {format_duration(high)}"
            raise UsageError(f"must be {limits}, not {format_duration(value)}")
        return value

    return read


def one_of(allowed: Iterable[T]) -> Callable[[yaml.ScalarNode], T]:
    """A reader of one word out of a few."""
    choices = {str(choice): choice for choice in allowed}

    def read(node: yaml.ScalarNode) -> T:
        value = text(node)
        if value not in choices:
            raise UsageError(f"{shown(value)} is not one of these; {did_you_mean(value, choices)}")
        return choices[value]

    return read
