"""What did the server say: did it succeed, which rows came, how many are there in all, and with what message?

The envelope is `{success, data, meta}` (YCLIENTS API, "Envelope"). Rows stay raw bytes here, so that one bad
row cannot take its page with it; `parse_*` looks into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from ycsync.model.payload import Unreadable, encode, read_leniently

_NOTHING = (b"", b"null", b'""', b"false", b"0")
_EMPTY = (*_NOTHING, b"[]", b"{}")


class MalformedBody(ValueError):
    """The body is not an answer of the API: not JSON, cut short, or not an envelope. Quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer: raw rows (JSON text of one entity each); `total` and `message` if the server gave them.

    `single`: `data` was one object, not a list.
    """

    success: bool
    rows: tuple[bytes, ...]
    total: int | None
    message: str | None
    single: bool = False


class _Raw(msgspec.Struct):
    success: Any = msgspec.UNSET
    data: msgspec.Raw = msgspec.Raw(b"")  # empty: the key is not there
    meta: Any = None
    errors: Any = None


_envelope = msgspec.json.Decoder(_Raw)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_envelope(body: bytes) -> Envelope:
    """Split a body into raw rows; `data` may be a list, one object or empty. Raises MalformedBody.

    Success with `data` that is nothing or no rows at all (null, a number, a text) is no empty list, unless the count says 0:
    taking it for one would prove that a salon is empty.
    """
    try:
        raw = _envelope.decode(body)
        data = bytes(raw.data)
        rows = _rows(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError):
        return _decode_leniently(body)
    return _envelope_of(raw.success, data, rows, raw.meta, raw.errors)


def _decode_leniently(body: bytes) -> Envelope:
    """The slow way, for bodies that a strict reader refuses: rows are cleaned and written anew."""
    try:
        value = read_leniently(body)
        if not isinstance(value, dict):
            raise MalformedBody("the body is not a YCLIENTS envelope: JSON, but not an object")
        data = encode(value["data"]) if "data" in value else b""
        rows = _rows(data)
    except Unreadable as error:
        raise MalformedBody(f"the body cannot be read: {error}") from None
    except (msgspec.MsgspecError, RecursionError):
        raise MalformedBody("the body cannot be read: nested too deeply") from None
    success = value.get("success", msgspec.UNSET)
    return _envelope_of(success, data, rows, value.get("meta"), value.get("errors"))


def _rows(data: bytes) -> tuple[bytes, ...]:
    if data in _EMPTY:
        return ()
    if data[:1] == b"[":
        return tuple(bytes(row) for row in _list.decode(data))
    if data[:1] == b"{":
        members = _object.decode(data)
        # PHP writes a list with gaps in its keys as an object: {"0": {...}, "2": {...}}.
        if all(key.isdecimal() for key in members):
            return tuple(bytes(row) for row in members.values())
    return (data,)


def _envelope_of(success: Any, data: bytes, rows: tuple[bytes, ...], meta: Any, errors: Any) -> Envelope:
    message = _message(meta) or _message(errors)
    if success is msgspec.UNSET or success is None:
        succeeded = not errors and (bool(rows) or message is None)
    else:
        succeeded = success not in (False, 0, "", "0", "false", [])
    total = _whole(meta.get("total_count")) if isinstance(meta, dict) else None
    if succeeded and data[:1] not in (b"[", b"{") and (data not in _NOTHING or not data or total != 0):
        raise MalformedBody("the body is not a YCLIENTS envelope: its data are no rows")
    single = len(rows) == 1 and rows[0] == data
    return Envelope(succeeded, rows, total, message, single)


def _message(holder: Any) -> str | None:
    text = holder.get("message") if isinstance(holder, dict) else None
    return text if isinstance(text, str) and text else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, (int, float, Decimal)) and 0 <= value < 2**63 and value == int(value):
        return int(value)
    return None
