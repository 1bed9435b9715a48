"""Which number does a phone text name, in the form that look-ups use?

Digits only; 11 digits from 8 become 7…; 10 digits from 9 get a 7 before them; fewer than 7 or more than 15
are no number. Without the contacts right the API masks phones (`+7999*****11`): a masked one is no number
either, and is marked, so that it never replaces a real one.
"""

from __future__ import annotations

import re

_MASK = re.compile("[*xXхХ×•●·#_…⁎∗]")  # the Cyrillic х as well
_NOT_DIGITS = re.compile("[^0-9]+")


def normalise_phone(raw: str) -> tuple[str | None, bool]:
    """The number's digits, country code first, or None; and whether it was masked."""
    if not raw:
        return None, False
    digits = raw[1:] if raw[0] == "+" else raw
    if not (digits.isascii() and digits.isdecimal()):
        if _MASK.search(digits):
            return None, True
        digits = _NOT_DIGITS.sub("", digits)
    length = len(digits)
    if length == 11 and digits[0] == "8":
        return "7" + digits[1:], False
    if length == 10 and digits[0] == "9":
        return "7" + digits, False
    return (digits, False) if 7 <= length <= 15 else (None, False)
