"""Reads and writes JSON of a stranger's making without holding the interpreter for long.

The C parser holds the interpreter from the first byte to the last: 1 MiB of empty lists is 150 ms in which no other
thread runs, the loop with all its calls included. So what has many parts is read by Python's own parser, which lets
other threads run every few milliseconds. That is slow, and meant for a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # typeshed does not know it
from typing import Any

from sessions.ports import Json
from sessions.text import well_formed

MANY_PARTS = 20_000  # commas and brackets; as much is parsed in C in some 5 ms
_MAX_DIGITS = 4000  # what Python takes for an integer


class Unreadable(ValueError):
    """This is not JSON; the message says what is wrong with it and shows nothing of it."""


class _Decoder(json.JSONDecoder):
    """Takes what others refuse: NaN as null, and integers of any length as text."""

    def __init__(self, *, in_python: bool, long_integers: bool) -> None:
        super().__init__(
            strict=False,  # a raw line end inside a text harms nobody
            parse_constant=lambda name: None,
            parse_int=_integer if long_integers else None,
        )
        if in_python:
            self.scan_once: Callable[[str, int], tuple[Any, int]] = py_make_scanner(self)


def read_json(raw: bytes) -> Json:
    """The value, lone surrogates included; bytes that are not UTF-8 become U+FFFD. Raises Unreadable."""
    parts = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    text = raw.decode("utf-8-sig", "replace")
    in_python = parts > MANY_PARTS
    try:
        try:
            return _decoded(_Decoder(in_python=in_python, long_integers=False), text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than Python takes
            return _decoded(_Decoder(in_python=in_python, long_integers=True), text)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "a number cannot be read"
        raise Unreadable(f"it is not JSON: {why}") from None


def write_json(value: object, max_bytes: int, default: Callable[[Any], object] | None = None) -> tuple[str, bool]:
    """The value as JSON with no lone surrogates, and whether all of it is there: writing stops past `max_bytes`.

    `default` makes what JSON can carry of other objects. Raises Unreadable for what is nested too deeply to be written.
    """
    written: list[str] = []
    size = 0
    try:
        # The iterating encoder is Python's own: it can be left, and lets other threads run.
        for piece in json.JSONEncoder(ensure_ascii=False, default=default).iterencode(value):
            written.append(piece)
            size += len(piece)  # in characters; they have at least as many bytes
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
