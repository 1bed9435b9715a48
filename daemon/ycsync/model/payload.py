"""Is this JSON text something that PostgreSQL's jsonb accepts, and if not, what is the nearest text that is?

jsonb refuses U+0000, lone surrogates, NaN and Infinity, and numbers beyond numeric's range (131,072 digits
before the point, 16,383 after: PostgreSQL manual, "Numeric Types"). Cleaning removes NULs, puts U+FFFD for
lone surrogates, and turns what is no storable number into a string of the same text, so that nothing
disappears unseen: a typed column that meets such a string refuses the row.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec

_MAX_INTEGER_DIGITS = 4_000  # Python refuses to print integers of more than 4,300 digits
_LONG_ROW = 16_000  # a shorter text cannot hold a run of digits beyond numeric's range
_NUMERIC_WEIGHT = 131_000
_NUMERIC_SCALE = 16_000

_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# Two patterns: one that begins with a single letter is searched for five times faster than one with a set.
_SUSPECT_NUMBER, _SUSPECT_NUMBER_2 = re.compile(rb"e[+-]?[0-9]{3}"), re.compile(rb"E[+-]?[0-9]{3}")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")

_encoder = msgspec.json.Encoder(decimal_format="number")


class Unreadable(ValueError):
    """The text is not JSON, even leniently read; the message names no content."""


def storable(raw: bytes) -> str | None:
    """The text of `raw`, which is known to be JSON, unchanged; None if jsonb would refuse it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if b"\\u" in raw and _SUSPECT_ESCAPE.search(raw) and not _escapes_are_storable(text):
        return None
    suspect = len(raw) > _LONG_ROW or _SUSPECT_NUMBER.search(raw) or _SUSPECT_NUMBER_2.search(raw)
    if suspect and not _numbers_are_storable(text):
        return None
    return text


def _escapes_are_storable(text: str) -> bool:
    expected_at = -1  # where the low half of a surrogate pair must stand
    for match in _ESCAPE.finditer(text):
        code = int(match[1], 16) if match[1] else 0x20
        if expected_at >= 0 and (match.start() != expected_at or not 0xDC00 <= code <= 0xDFFF):
            return False
        if expected_at < 0 and (code == 0 or 0xDC00 <= code <= 0xDFFF):
            return False
        expected_at = match.end() if expected_at < 0 and 0xD800 <= code <= 0xDBFF else -1
    return expected_at < 0


def _numbers_are_storable(text: str) -> bool:
    return all(token[0] == '"' or _fits_numeric(token) for token in _TOKEN.findall(text))


def _fits_numeric(number: str) -> bool:
    mantissa, _, exponent = number.lower().partition("e")
    if len(exponent.lstrip("+-").lstrip("0")) > 6:
        return False
    power = int(exponent or 0)
    whole, _, fraction = mantissa.partition(".")
    return len(whole) + max(power, 0) <= _NUMERIC_WEIGHT and len(fraction) + max(-power, 0) <= _NUMERIC_SCALE


def read_leniently(raw: bytes) -> Any:
    """Values of JSON that strict readers refuse: a BOM, bad UTF-8, control characters, NaN, lone surrogates.

    The result is clean (see the module). Raises Unreadable.
    """
    text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
    try:
        loaded = json.loads(text, strict=False, parse_float=_number, parse_int=_integer, parse_constant=lambda name: name)
        return _clean(loaded)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError:
        raise Unreadable("not JSON") from None


def encode(value: Any) -> bytes:
    """Clean values as JSON; Decimals become numbers."""
    return _encoder.encode(value)


def as_json_string(raw: bytes) -> str:
    """A JSON string that holds the text of something that is not JSON."""
    text = raw.decode("utf-8", errors="replace").replace("\x00", "")
    return _encoder.encode(text).decode()


def _number(text: str) -> Decimal | str:
    # Only plain numbers are kept as numbers: msgspec must read back what is written here.
    return Decimal(text) if len(text) < _MAX_INTEGER_DIGITS and _fits_numeric(text) else text


def _integer(text: str) -> int | str:
    return int(text) if len(text) < _MAX_INTEGER_DIGITS else text


def _clean_text(text: str) -> str:
    if text.isascii():
        return text.replace("\x00", "") if "\x00" in text else text
    return _SURROGATE.sub("\ufffd", text.replace("\x00", ""))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean_text(key): _clean(item) for key, item in value.items()}
    return value
