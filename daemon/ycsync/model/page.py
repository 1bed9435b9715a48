"""How does a page of raw rows become rows and rejects, so that no row is lost and none stops the page?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from ycsync.model.payload import Unreadable, as_json_string, encode, read_leniently, storable
from ycsync.model.rows import Parsed, Reject
from ycsync.model.values import FieldError, as_id

_ID_TEXT = 64


class RawEntity(msgspec.Struct):
    """The fields that every payload may have. What a stream needs beyond them stands in its own subclass."""

    id: Any = None
    last_change_date: Any = None
    deleted: Any = None


Raw = TypeVar("Raw")
Row = TypeVar("Row")

_READ_ERRORS = (msgspec.MsgspecError, RecursionError, ValueError, ArithmeticError)


def decoder_for(kind: type[Raw]) -> msgspec.json.Decoder[Raw]:
    """A decoder that keeps numbers as they were written: money never passes through binary floats."""
    return msgspec.json.Decoder(kind, float_hook=Decimal)


def parse_page(
    raws: Sequence[bytes],
    decoder: msgspec.json.Decoder[Raw],
    build: Callable[[int, Raw, str], Row],
    identify: Callable[[Raw], Any] = attrgetter("id"),
) -> Parsed[Row]:
    """Run `build(id, payload, text)` over a page. `identify`: a payload's id as it came; raises FieldError.

    Of several rows with one id the last good one counts; a reject stays unless a good row of its id follows.
    """
    rows: dict[int, Row] = {}
    rejects: dict[int, Reject] = {}
    nameless: list[Reject] = []
    ids: dict[int, None] = {}
    for raw in raws:
        try:
            text = storable(raw)
            if text is None:
                raise Unreadable
            payload = decoder.decode(raw)
        except _READ_ERRORS:
            read = _read_again(raw, decoder)
            if isinstance(read, Reject):
                nameless.append(read)
                continue
            payload, text = read
        named: Any = None
        try:
            named = identify(payload)
            entity = as_id(named, "id")
        except FieldError as error:
            nameless.append(Reject(_id_text(named), str(error), text))
            continue
        ids[entity] = None
        try:
            row = build(entity, payload, text)
        except FieldError as error:
            rejects[entity] = Reject(str(entity), str(error), text)
            continue
        rows[entity] = row
        if rejects:
            rejects.pop(entity, None)
    return Parsed(tuple(rows.values()), (*nameless, *rejects.values()), len(raws), tuple(ids))


def _read_again(raw: bytes, decoder: msgspec.json.Decoder[Raw]) -> tuple[Raw, str] | Reject:
    """The slow way: clean the payload and read it once more."""
    try:
        value = read_leniently(raw)
        clean = encode(value)
        text = clean.decode()
    except (Unreadable, RecursionError) as error:
        reason = str(error) if isinstance(error, Unreadable) else "nested too deeply"
        return Reject(None, f"row: {reason}", as_json_string(raw))
    if not isinstance(value, dict):
        return Reject(None, "row: not an object", text)
    try:
        return decoder.decode(clean), text
    except _READ_ERRORS:
        return Reject(_id_text(value.get("id")), "row: not readable", text)


def _id_text(value: Any) -> str | None:
    if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool):
        return str(value)[:_ID_TEXT] or None
    return None
