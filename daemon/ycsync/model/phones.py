"""The form of a phone that look-ups use; the SQL function normalise_phone does the same.

With a `+` or `00` the digits that follow are the number. Without: 11 digits from 8 become 7…; 10 digits from
9 get a 7 before them; other digits stay. Fewer than 7 or more than 15 digits are no number. `+89…` of 11
digits becomes 79…: no country has +89 (ITU-T E.164), so a Russian typed the 8 of the trunk after a plus.
An extension is dropped. Without the contacts right the API masks phones (`+7999*****11`): a masked one is
no number either, and is marked, so that it never replaces a real one.
"""

from __future__ import annotations

import re

_MASK = re.compile("[*xXхХ×•●·#_…⁎∗]")  # the Cyrillic х as well
_NOT_DIGITS = re.compile("[^0-9]+")
# `ext.`, `доб.`, `вн.`: what follows is an extension, as far as a number stands before it.
_WORD = re.compile("[eE][xX][tT]|[дД][оО][бБ]|[вВ][нН]")
# `x5`, `#12`, `,5` at the end: an extension where the number before it is whole, else a mask.
_SIGN = re.compile(r"[xXхХ#,][ .:=,]{0,3}[0-9]{1,6}[^0-9]*\Z")
_ABROAD = re.compile(r"[^0-9]*[+]|[^0-9]*0[^0-9]*0")
_LEAST, _MOST = 7, 15
_WHOLE = re.compile("[0-9]{11,}|[02-69][0-9]{9}")  # with country codes 1 and 7, and the trunk's 8, a number has 11 digits


def normalise_phone(raw: str) -> tuple[str | None, bool]:
    """The number's digits, country code first, or None; and whether it was masked."""
    if not raw:
        return None, False
    abroad = raw[0] == "+"
    digits = raw[1:] if abroad else raw
    if not (digits.isascii() and digits.isdecimal()):
        number = _without_extension(raw)
        if _MASK.search(number):
            return None, True
        abroad = _ABROAD.match(number) is not None
        digits = _NOT_DIGITS.sub("", number)
    elif digits.startswith("00"):
        abroad = True
    if abroad:
        digits = digits.lstrip("0")  # no country code begins with 0
        if len(digits) == 11 and digits.startswith("89"):
            return "7" + digits[1:], False
    elif len(digits) == 11 and digits[0] == "8":
        return "7" + digits[1:], False
    elif len(digits) == 10 and digits[0] == "9":
        return "7" + digits, False
    return (digits, False) if _LEAST <= len(digits) <= _MOST else (None, False)


def _without_extension(raw: str) -> str:
    """Return the text up to its extension; the whole text if it has none."""
    word = _WORD.search(raw)
    if word is not None and len(_NOT_DIGITS.sub("", raw[: word.start()])) >= _LEAST:
        raw = raw[: word.start()]
    sign = _SIGN.search(raw)
    if sign is not None and _WHOLE.fullmatch(_NOT_DIGITS.sub("", raw[: sign.start()])):
        return raw[: sign.start()]
    return raw
