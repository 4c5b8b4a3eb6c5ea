"""Amounts of money: whole nano-dollars inside, and decimal dollars where people read or write them. No floats."""

from __future__ import annotations

import re

NANO_PER_USD = 1_000_000_000
NANO_DIGITS = 9
_AMOUNT = re.compile(r"(?P<whole>[0-9]{0,12})(?:\.(?P<part>[0-9]{0,60}))?")


def nano_of(text: str) -> int | None:
    """The nano-dollars of an amount such as `0.40`, exactly. None for anything else, and for parts of a nano-dollar."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        return None
    whole, part = found["whole"], (found["part"] or "").rstrip("0")
    if not (whole or found["part"]) or len(part) > NANO_DIGITS:
        return None
    return int(whole or "0") * NANO_PER_USD + int(part.ljust(NANO_DIGITS, "0"))


def usd_of(nano: int) -> str:
    """The amount in dollars as a decimal text without needless zeros, such as `0.0123`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(nano, NANO_PER_USD)
    digits = f"{part:0{NANO_DIGITS}d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
