"""Reads and writes JSON from untrusted sources without holding the interpreter for long.

The C parser holds the interpreter from the first byte to the last: 1 MiB of empty lists takes 150 ms, in which no other
thread runs, the event loop and all its calls included. So a document with many parts is read by Python's own parser,
which lets other threads run every few milliseconds. That is slow, so it belongs in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # missing in typeshed
from typing import Any

from sessions.ports import Json
from sessions.text import well_formed

# Commas and brackets in a document. The C parser needs about 5 ms for this many.
MANY_PARTS = 20_000
# The most digits of an integer that Python converts from text.
_MAX_DIGITS = 4000


class Unreadable(ValueError):
    """This is not JSON. The message says what is wrong and repeats nothing of the document."""


class _Decoder(json.JSONDecoder):
    """Accepts what other parsers refuse: NaN becomes null, and a very long integer becomes text."""

    def __init__(self, *, in_python: bool, long_integers: bool) -> None:
        super().__init__(
            strict=False,  # a raw line feed inside a text is harmless
            parse_constant=lambda name: None,
            parse_int=_integer if long_integers else None,
        )
        if in_python:
            self.scan_once: Callable[[str, int], tuple[Any, int]] = py_make_scanner(self)


def read_json(raw: bytes) -> Json:
    """The parsed value, which may hold lone surrogates. Bytes that are not UTF-8 become U+FFFD. Raises Unreadable."""
    parts = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    text = raw.decode("utf-8-sig", "replace")
    in_python = parts > MANY_PARTS
    try:
        try:
            return _decoded(_Decoder(in_python=in_python, long_integers=False), text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer has more digits than Python converts
            return _decoded(_Decoder(in_python=in_python, long_integers=True), text)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "a number cannot be read"
        raise Unreadable(f"it is not JSON: {why}") from None


def write_json(value: object, max_bytes: int, default: Callable[[Any], object] | None = None) -> tuple[str, bool]:
    """The value as JSON without lone surrogates, and whether it is complete: writing stops past `max_bytes`.

    `default` converts objects of other types into JSON types. Raises Unreadable for a value that is nested too deeply.
    """
    written: list[str] = []
    size = 0
    try:
        # The iterating encoder is written in Python: it can be stopped, and it lets other threads run.
        for piece in json.JSONEncoder(ensure_ascii=False, default=default).iterencode(value):
            written.append(piece)
            size += len(piece)  # counts characters, which are never more than the bytes
            if size > max_bytes:
                return well_formed("".join(written)), False
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    return well_formed("".join(written)), True


def _decoded(decoder: _Decoder, text: str) -> Json:
    value: Json = decoder.decode(text)
    return value


def _integer(digits: str) -> Json:
    return int(digits) if len(digits) < _MAX_DIGITS else digits
