"""Canaries: made-up personal data whose every digit or letter tells its kind, where it was put and in which call.

All canaries of a kind begin alike, so one search finds any of them, whole or cut, in whatever form they were sent.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import ClassVar
from urllib.parse import quote, unquote_plus

MASKED = ("card", "phone", "email", "iban", "key")  # kinds that are redacted; the key by a pattern of the operator's
KINDS = (*MASKED, "name")
KEYS = "keys"  # what callers press
KEY_PATTERN = "(sk|SK)-[A-Za-z]+-[0-9A-Fa-f]+"
_CALLS = 50  # canaries of one kind and place are numbered by their call
_DIGITS = {"card": "4929775500", "phone": "170155530", "iban": "3704551200", KEYS: "837402900"}
_MARKERS = re.compile(
    r"(?P<name>qwobexan)(?P<name_at>[a-z]{4})?|(?P<email>qwobmail|qwobpost)(?P<email_at>\d{4})?"
    r"|(?P<key>qwobkey)(?:-[0-9a-f]{12}(?P<key_at>\d{4}))?"
)
_DIGIT_MARKERS = re.compile(
    "|".join(rf"(?P<{kind}>{marker})(?P<{kind}_at>\d{{4}})?" for kind, marker in _DIGITS.items())
)
# What stands between digits where people, transcripts, addresses and forms write numbers.
_BETWEEN = re.compile(r"(?<=\d)[\s.,()/\-–—·_+]{1,3}(?=\d)")
_ESCAPED = re.compile(r"\\+u([0-9a-fA-F]{4})")


def canary(kind: str, number: int) -> str:
    """The canary of a kind with this number, from 0 to 9999, as it is usually written."""
    match kind:
        case "card":
            return _with_luhn(f"{_DIGITS['card']}{number:04}0")
        case "phone":
            return f"+49{_DIGITS['phone']}{number:04}"
        case "email":
            return f"qwobmail{number:04}@qwobpost.example"
        case "iban":
            return _iban(f"{_DIGITS['iban']}{number:04}0000")
        case "key":
            return f"sk-qwobkey-0a1b2c3d4e5f{number:04}"
        case "keys":
            return f"{_DIGITS[KEYS]}{number:04}"
    letters = "".join(chr(ord("a") + number // 26**at % 26) for at in (3, 2, 1, 0))
    return f"Qwobexan{letters}"


def spelled(kind: str, text: str, way: int) -> str:
    """A canary in one of the ways in which people and programs write it."""
    ways = [text]
    match kind:
        case "card":
            fours = re.findall("....", text)
            ways += [" ".join(fours), "-".join(fours), f"{text[:6]} {text[6:]}"]
        case "phone":
            local = "0" + text[3:]
            ways += [f"{text[:3]} {text[3:6]} {text[6:10]} {text[10:]}", local, f"00{text[1:]}"]
            ways += [f"({local[:4]}) {local[4:8]}-{local[8:]}", f"{local[:4]} / {local[4:6]} {local[6:9]} {local[9:]}"]
        case "iban":
            ways += [" ".join(re.findall(".{1,4}", text)), text.lower()]
        case "email" | "key" | "name":
            ways += [text.upper()]
    return ways[way % len(ways)]


class Place:
    """One place where words can be in a call, such as a tool's arguments. `sent` may leave with content on."""

    known: ClassVar[dict[int, Place]] = {}

    def __init__(self, name: str, *, sent: bool = False) -> None:
        self.name = name
        self.sent = sent
        self._number = len(self.known)
        self.known[self._number] = self

    def canary(self, kind: str, call: int) -> str:
        """The canary of a kind that is put here in a call, as it is usually written."""
        return canary(kind, self._number * _CALLS + call)

    def words(self, call: int, kinds: Iterable[str] = KINDS) -> str:
        """A text with one canary of each kind, spelled in the call's own ways."""
        return " and ".join(f"my {kind}: {spelled(kind, self.canary(kind, call), call)}" for kind in kinds)


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary that was found. `place` and `call` are unknown where it was cut short."""

    kind: str
    place: Place | None
    call: int | None
    around: str

    def __str__(self) -> str:
        where = self.place.name if self.place is not None else "?"
        return f"{self.kind} of {where}, call {self.call}: {self.around!r}"


def hits_in(haystack: bytes) -> list[Hit]:
    """The canaries in what was sent: as they are, in any case, escaped for JSON, HTML or URLs, digits only, base64."""
    found: dict[tuple[str, Place | None, int | None], Hit] = {}
    text = haystack.decode("utf-8", "replace")
    for form in {text, *_decoded(text)}:
        lower = form.lower()
        for hit in (*_marked(_MARKERS, lower), *_marked(_DIGIT_MARKERS, _BETWEEN.sub("", lower))):
            found.setdefault((hit.kind, hit.place, hit.call), hit)
    for kind, encoded in _BASE64:
        at = haystack.find(encoded)
        if at >= 0:
            found.setdefault((kind, None, None), Hit(kind, None, None, f"base64 at {at}"))
    return list(found.values())


def _decoded(text: str) -> Iterator[str]:
    yield _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text).replace("\\", "")
    yield unquote_plus(text)
    yield unquote_plus(unquote_plus(text))
    yield unescape(text)


def _marked(markers: re.Pattern[str], text: str) -> Iterator[Hit]:
    for match in markers.finditer(text):
        kind = next(name for name in (match.lastgroup or "").split("_") if name)
        at = match[f"{kind}_at"]
        number = None if at is None else _number(kind, at)
        place = None if number is None else Place.known.get(number // _CALLS)
        call = None if number is None else number % _CALLS
        yield Hit(kind, place, call, text[max(0, match.start() - 60) : match.end() + 20])


def _number(kind: str, digits: str) -> int:
    if kind != "name":
        return int(digits)
    number = 0
    for letter in digits:
        number = number * 26 + ord(letter) - ord("a")
    return number


def _base64_forms() -> Iterator[tuple[str, bytes]]:
    """How the beginning of each kind looks in base64, wherever it begins in the encoded bytes."""
    beginnings = {"name": "Qwobexan", "email": "qwobmail", "key": "qwobkey", **_DIGITS}
    for kind, beginning in beginnings.items():
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + beginning.encode())
            yield kind, encoded[4 if before else 0 : len(beginning) // 3 * 4]


_BASE64 = list(_base64_forms())


def _with_luhn(digits: str) -> str:
    doubled = (digit * 2 - 9 * (digit > 4) for digit in map(int, digits[::-2]))
    return f"{digits}{-(sum(doubled) + sum(map(int, digits[-2::-2]))) % 10}"


def _iban(account: str) -> str:
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def in_url(text: str) -> str:
    """A text as a part of an address."""
    return quote(text, safe="")


def table(counts: Counter[tuple[str, str]]) -> str:
    """Counts by kind and place, as lines to print."""
    return "\n".join(f"  {kind:6} {place:16} {count:4}" for (kind, place), count in sorted(counts.items()))
