"""Finds IBANs, e-mail addresses, card numbers and telephone numbers in texts, and masks them.

Candidates are found by scans without backtracking, and looked at within bounded windows, so that the time is
proportional to a text's length. They look at the text as `plain` writes it, and mask the text itself.
Sources: ISO 13616 (IBAN, with the lengths of SWIFT's registry), ISO/IEC 7812-1 (Luhn).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.telemetry.spans.lookalikes import INVISIBLE, plain

IBAN, EMAIL, CARD, PHONE = "[iban]", "[email]", "[card]", "[phone]"
MIN_CARD, MAX_CARD = 13, 19  # digits
MIN_PHONE = 7  # digits
MAX_LOCAL, MAX_DOMAIN = 64, 255  # characters of an address, RFC 5321 (4.5.3.1)

# Digits with at most three separators between two of them, as people and transcripts write numbers. Invisible
# characters do not count. The possessive repetitions (`*+`) are not tried in other ways.
_DIGITS = re.compile(rf"[+(]{{0,2}}\d(?:{INVISIBLE}*+(?:[\s.,\-/()·_*]{INVISIBLE}*+){{0,3}}\d)*")
# What stands before digits in a text within JSON, or in a web address: \\n, \\u000a, %2B.
_ESCAPE = re.compile(r"(?:\\[bfnrt]|\\u[0-9a-fA-F]{3}[a-fA-F]|%[0-9a-fA-F][a-fA-F])$")
_DATE = re.compile(
    r"(?<![\d./-])(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:19|20)\d\d)(?![./-]?\d)"
)
_DECIMAL = re.compile(r"(?:0|[1-9]\d*)[.,]\d+")  # a price, or a place on the map
_IBAN_BEGIN = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9a-fA-F]{2}))[A-Za-z]{2}\d{2}(?=[ \-\u200b]{0,2}[A-Za-z0-9])"
)
_IBAN_LENGTHS = {
    15: "NO", 16: "BE BI", 18: "DK FI FK FO GL NL SD", 19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK", 21: "CH CR HR LI LV", 22: "BG BH DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
    27: "BF CM DJ FR GR IT MC MG MR SM", 28: "AL AZ BJ BY CI CY DO GT HN HU LB ML NI PL SN SV", 29: "BR EG PS QA UA",
    30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_LENGTH_OF = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries.split()}
_AT = re.compile("@|%40")
_LOCAL = frozenset("!#$%&'*+-/=?^_`{|}~." + INVISIBLE)
_DOMAIN = frozenset("-." + INVISIBLE)


def _replaced(text: str, found: Iterator[tuple[int, int, str]]) -> str:
    """The text with spans of it replaced; they come in order and do not overlap."""
    parts: list[str] = []
    done = 0
    for begin, end, kind in found:
        parts += (text[done:begin], kind)
        done = end
    return text if not parts else "".join([*parts, text[done:]])


# ---- IBAN


def without_ibans(text: str) -> str:
    """The text with each IBAN masked."""
    return _replaced(text, _find_ibans(plain(text)))


def _find_ibans(text: str) -> Iterator[tuple[int, int, str]]:
    done = 0
    for match in _IBAN_BEGIN.finditer(text):
        length = _LENGTH_OF.get(text[match.start() : match.start() + 2].upper())
        if length is None or match.start() < done:
            continue
        end = _after_alphanumerics(text, match.start(), length)
        if end is not None and _checks_out(text[match.start() : end]):
            done = end
            yield match.start(), end, IBAN


def _after_alphanumerics(text: str, begin: int, count: int) -> int | None:
    """Where so many letters and digits end, with at most two blanks or dashes between two of them."""
    between = 0
    for at in range(begin, len(text)):
        if text[at].isascii() and text[at].isalnum():
            count, between = count - 1, 0
            if not count:
                return at + 1
        elif text[at] in " -" and between < 2:
            between += 1
        elif text[at] != INVISIBLE:
            return None
    return None


def _checks_out(iban: str) -> bool:
    signs = [sign for sign in iban.upper() if sign.isalnum()]
    return int("".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])) % 97 == 1


# ---- e-mail


def without_emails(text: str) -> str:
    """The text with each e-mail address masked, also in a web address, where `@` is written as `%40`."""
    seen = plain(text)
    return _replaced(text, _find_emails(seen)) if "@" in seen or "%40" in seen else text


def _find_emails(text: str) -> Iterator[tuple[int, int, str]]:
    done = 0
    for sign in _AT.finditer(text):
        at, after = sign.span()
        begin = at
        while begin > max(done, at - MAX_LOCAL) and (text[begin - 1].isalnum() or text[begin - 1] in _LOCAL):
            begin -= 1
        end = after
        while end < min(len(text), after + MAX_DOMAIN) and (text[end].isalnum() or text[end] in _DOMAIN):
            end += 1
        while end > after and text[end - 1] in _DOMAIN:
            end -= 1  # the full stop of a sentence
        if begin < at and "." in text[after:end]:
            done = end
            yield begin, end, EMAIL


# ---- card and telephone numbers


def without_numbers(text: str) -> str:
    """The text with each card number and each telephone number masked."""
    return _replaced(text, _find_numbers(plain(text)))


def _find_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    for run in _DIGITS.finditer(text):
        if run.end() - run.start() < MIN_PHONE or _is_in_a_name(text, run.start(), run.end()):
            continue
        places = [at for at in range(run.start(), run.end()) if text[at].isdecimal()]
        yield from _in_run(text, run.start(), places)


def _is_in_a_name(text: str, begin: int, end: int) -> bool:
    """Whether these are digits only, with a letter directly before them, as in an id; not one of an escape (`%2B`)."""
    before = text[begin - 1 : begin]
    if not (before.isalpha() or before == "_") or not text[begin:end].isdecimal():
        return False
    return _ESCAPE.search(text, max(0, begin - 6), begin) is None


def _in_run(text: str, begin: int, places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """The card numbers in a run of digits, whose places are given, and the telephone numbers between them."""
    digits = [int(text[at]) for at in places]
    rest = 0  # the first digit that is in no card number
    for first, last in _cards(digits):
        if last < rest:
            continue
        # Digits that touch the number are masked with it: they are a part of it, or it is a part of a longer one.
        while first > rest and places[first - 1] + 1 == places[first]:
            first -= 1
        while last + 1 < len(places) and places[last + 1] == places[last] + 1:
            last += 1
        first = max(first, rest)
        yield from _phone(text, begin, places[rest:first])
        yield (begin if first == 0 else places[first]), places[last] + 1, CARD
        rest, begin = last + 1, places[last] + 1
    yield from _phone(text, begin, places[rest:])


def _cards(digits: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last digit of each card number; a longer one is preferred."""
    at = 0
    while at + MIN_CARD <= len(digits):
        most = min(MAX_CARD, len(digits) - at)
        length = next((n for n in range(most, MIN_CARD - 1, -1) if _luhn(digits[at : at + n])), 0)
        if length and len(set(digits[at : at + length])) > 1:
            yield at, at + length - 1
            at += length
        else:
            at += 1


def _luhn(digits: Sequence[int]) -> bool:
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _phone(text: str, begin: int, places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """A telephone number from `begin` on, with its digits at these places, unless it is a date or too short."""
    if len(places) < MIN_PHONE:
        return
    end = places[-1] + 1
    while begin < places[0] and text[begin] not in "+(":
        begin += 1
    written = text[begin:end]
    if _DECIMAL.fullmatch(written):
        return
    without_dates = written if written.startswith("+") else _DATE.sub("", written)
    if sum(map(str.isdecimal, without_dates)) >= MIN_PHONE:
        yield begin, end, PHONE
