"""How is a person who was erased taken out of a row's JSON, so that what stays says nothing of them?

One definition for what is stored already (store.erase) and for what comes (store.pages): so a row that comes again as it was
is not written again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ycsync.model.payload import encode, read_leniently

Stays = Mapping[str, frozenset[str]]
"""Keys of a payload that say nothing of a person. A value that is a list or an object keeps these of its own."""

_PERSONS = frozenset(("client", "clients", "comer"))  # whoever stands under these is a client
_FEW = 16
_NUMBER = re.compile(r"(?<!\w)\d{1,18}(?!\w)")


def numbers(text: str) -> set[int]:
    """Every whole number that stands by itself in a text: a payload that names a client holds the client's id."""
    return set(map(int, _NUMBER.findall(text)))


def suspects(texts: Sequence[str], ids: Collection[int]) -> set[int]:
    """Places of the texts that hold one of these ids, perhaps within a longer number: where it is worth to look closer."""
    if len(ids) <= _FEW:  # a text is searched for one word some fifty times faster than for all numbers
        return {place for one in map(str, ids) for place, text in enumerate(texts) if one in text}
    number = re.compile(rf"\d{{{min(len(str(one)) for one in ids)},18}}")
    known = frozenset(map(str, ids))
    return {place for place, text in enumerate(texts) if not known.isdisjoint(number.findall(text))}


def stripped(raw: str, stays: Stays) -> str:
    """What stays of a payload whose client was erased."""
    payload = read_leniently(raw.encode())
    if not isinstance(payload, dict):
        return "{}"
    kept = {key: _plain(value, stays[key]) for key, value in payload.items() if key in stays}
    return encode(kept).decode()


def _plain(value: Any, stays: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_plain(one, stays) for one in value if isinstance(one, dict)]
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if key in stays and not isinstance(one, (list, dict))}
    return value


def without(raw: str, erased: Collection[int]) -> str:
    """Another's payload without the erased clients that it names: a companion, who paid, who bought."""
    payload = read_leniently(raw.encode())
    found = _without(payload, erased)
    return raw if found == payload else encode(found).decode()


def _without(value: Any, erased: Collection[int]) -> Any:
    if isinstance(value, list):
        return [_without(one, erased) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    theirs = False
    for key, one in value.items():
        if key not in _PERSONS and not key.endswith("client_id"):
            found[key] = _without(one, erased)
        elif _is(one, erased):
            found[key] = None
            theirs = theirs or key == "client" or key.endswith("client_id")  # a companion's visit is another's
        elif isinstance(one, list):
            found[key] = [_without(each, erased) for each in one if not _is(each, erased)]
        else:
            found[key] = _without(one, erased)
    if theirs and "comment" in found:
        found["comment"] = ""
    return found


def _is(value: Any, erased: Collection[int]) -> bool:
    """Is this one of the erased: an id, or an object with it?"""
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
    return isinstance(value, int) and value in erased
