"""How is the preset changed in a file that a person wrote? One word in place, no other byte touched."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import yaml

from ycsync.config.files import read_text
from ycsync.config.nodes import SECRET_KEY, compose, shown
from ycsync.config.parse import is_preset_name, parse_settings, read_settings
from ycsync.errors import ConfigError, UsageError

_IN_A_URL: Final = re.compile(r"://[^/@?]*:[^@]*@")  # as `parse` finds a password


class NotWritable(UsageError):
    """The file is another user's, or lies where nothing may be written."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reset:
    """What going back did: the preset then in force, and what it took back besides, as "line 41: companies: [4001]"."""

    preset: str
    taken_back: tuple[str, ...] = ()


def backup_path(path: Path) -> Path:
    """Where the file as it was before the last change is kept: beside the real file, if `path` is a link."""
    real = path.resolve()
    return real.with_name(real.name + ".bak")


def use_preset(path: Path, name: str) -> None:
    """Makes `name` the preset of the file at `path`; the file as it was becomes its backup.

    Raises UsageError for an unknown preset, a file that cannot be edited in place or written; ConfigError if
    the file would still be invalid. In every such case nothing is changed.
    """
    before = read_text(path)
    known, _ = read_settings(before)
    if not is_preset_name(name) or name not in known.presets:
        raise _unknown(name, before, path)
    after = with_preset(before, name, str(path))
    if after != before:
        _replace(path, before, after)


def reset_preset(path: Path) -> Reset:
    """Goes back to the backup, the whole file; what was edited since is taken back with it.

    What was in the file becomes the backup, so that a second reset undoes the first. Raises UsageError
    without a backup, ConfigError if the backup is not valid; nothing is changed then.
    """
    backup = backup_path(path)
    if not backup.is_file():
        raise UsageError(f"{backup}: there is no backup to go back to; `ycsync preset use NAME` makes one")
    after = read_text(backup)
    settings = parse_settings(after, str(backup))
    before = read_text(path)
    _replace(path, before, after)
    return Reset(settings.preset, _taken_back(before, after))


def _taken_back(before: str, after: str) -> tuple[str, ...]:
    """The lines of `before` that `after` has not, and those that it has again; the preset apart."""
    old, new = before.split("\n"), after.split("\n")
    told: list[str] = []
    bare, bare_new = _but_preset(before), _but_preset(after)
    for kind, start, end, first, last in difflib.SequenceMatcher(None, bare, bare_new, autojunk=False).get_opcodes():
        if kind in ("delete", "replace"):  # a preset's line that `preset use` made is the preset's
            told += (f"line {n + 1}: {_shown_line(old[n])}" for n in range(start, end) if bare[n].strip() != "preset:")
        if kind == "insert" or (kind == "replace" and last - first > end - start):
            told += (f"line {n + 1} is there again: {_shown_line(new[n])}" for n in range(first, last))
    return tuple(told)


def _but_preset(text: str) -> list[str]:
    """The lines without the preset's word."""
    with contextlib.suppress(ConfigError, UsageError):
        if (span := _span(text, "")) is not None:
            text = text[: span[0]] + text[span[1] :]
    return [line.rstrip("\r") for line in text.split("\n")]


def _shown_line(line: str) -> str:
    # A mistake of the file may be that a secret stands in it.
    if SECRET_KEY.search(line) or _IN_A_URL.search(line):
        return "(not shown: it may hold a secret)"
    return shown(line.strip()) if not line.strip().isprintable() or len(line) > 120 else line.strip()


def _unknown(name: str, text: str, path: Path) -> UsageError:
    """Says which presets there are; raises ConfigError if the file is not YAML at all."""
    _, broken = compose(text)
    if broken is not None:
        raise ConfigError(str(path), (broken,))
    settings, _ = read_settings(text)
    return UsageError(f"{path}: there is no preset {shown(name)}: choose one of {', '.join(settings.presets)}")


def with_preset(text: str, name: str, source: str) -> str:
    """`text` with `name` as its preset. Raises ConfigError if `text` is invalid apart from its preset."""
    span = _span(text, source)
    if span is None:
        after = _inserted(text, name, source)
    else:
        start, end, quote = span
        after = f"{text[:start]}{quote}{name}{quote}{text[end:]}"
    settings = parse_settings(after, source)
    before, _ = read_settings(text)
    # The proof that only the preset was changed, whatever YAML was around it.
    if settings != dataclasses.replace(before, preset=name):
        raise _by_hand(source, name)
    return after


def _span(text: str, source: str) -> tuple[int, int, str] | None:
    """Where the preset's scalar starts and ends in `text`, and its quote; None if the key is not there."""
    root, broken = compose(text)
    if broken is not None:
        raise ConfigError(source, (broken,))
    if not isinstance(root, yaml.MappingNode):
        return None
    for key, value in root.value:
        if key.value != "preset" or not isinstance(key, yaml.ScalarNode):
            continue
        start, end = value.start_mark.index, value.end_mark.index
        # An alias' node stands where its anchor is; a block scalar ends on another line.
        in_place = isinstance(value, yaml.ScalarNode) and start > key.end_mark.index and "\n" not in text[start:end]
        if not in_place or start == end or value.style in ("|", ">"):
            raise _by_hand(source, "NAME")
        quote = value.style if value.style in ("'", '"') else ""
        if text[start] != (quote or text[start]) or text[start] in "&!":
            raise _by_hand(source, "NAME")  # an anchor or a tag stands before it
        return start, end, quote
    return None


def _inserted(text: str, name: str, source: str) -> str:
    """`text` with a preset line before its first key, or at its end if it has none."""
    root, _ = compose(text)
    eol = "\r\n" if "\r\n" in text else "\n"
    if root is None:
        gap = "" if not text or text.endswith("\n") else eol
        return f"{text}{gap}preset: {name}{eol}"
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise _by_hand(source, name)
    start = root.start_mark.index
    return f"{text[:start]}preset: {name}{eol}{' ' * root.start_mark.column}{text[start:]}"


def _by_hand(source: str, name: str) -> UsageError:
    return UsageError(f"{source}: the preset cannot be changed in place: write `preset: {name}` on a line of its own")


def _replace(path: Path, before: str, after: str) -> None:
    """Backs `before` up, then puts `after` in its place; a crash leaves the one or the other, whole."""
    real = path.resolve()
    try:
        _write(backup_path(path), before, like=real)
        # Someone's editor may have saved in the meantime: their change wins over ours.
        if read_text(real) != before:
            raise UsageError(f"{path}: changed by someone else just now; nothing was done, try again")
        _write(real, after, like=real)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "run this command with sudo, or as the file's owner with leave to write in its folder"
            raise NotWritable(f"{path}: cannot be replaced ({error.strerror}): {remedy}") from error
        raise UsageError(f"{path}: cannot be replaced ({error.strerror})") from error


def _write(target: Path, text: str, *, like: Path) -> None:
    """Writes `target` atomically and durably, with the mode, owner and attributes of `like`."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            status = like.stat()
            if (os.fstat(file.fileno()).st_uid, os.fstat(file.fileno()).st_gid) != (
                status.st_uid,
                status.st_gid,
            ):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            shutil.copystat(like, name)
            os.utime(name)
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
