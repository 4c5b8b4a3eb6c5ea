"""JSON from untrusted sources is read as far as possible, and never for long in one step."""

from __future__ import annotations

import pytest

from gateway.tools.json_reading import Unreadable, read_json, write_json

MIB = 1 << 20


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"\\ud83d"', "\ud83d"),
        (b'{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        (b"\xef\xbb\xbf[1]", [1]),
        (b'"\xff"', "\ufffd"),
        (b'"a\nb"', "a\nb"),
        (b"[" + b"9" * 5000 + b"]", ["9" * 5000]),
        (b"[" + b"1," * 30_000 + b"2]", [1] * 30_000 + [2]),
    ],
)
def test_values_that_strict_parsers_refuse_are_read(raw: bytes, value: object) -> None:
    assert read_json(raw) == value


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", b'{"a": 1,}', b"[" * MIB, b"1 2"])
def test_text_that_is_not_json_is_unreadable_and_not_shown(raw: bytes) -> None:
    with pytest.raises(Unreadable) as error:
        read_json(raw)
    assert "nope" not in str(error.value)


def test_writing_stops_at_the_bound_and_leaves_no_lone_surrogate() -> None:
    assert write_json({"a\ud83d": "b\ud83d"}, 100) == ('{"a\ufffd": "b\ufffd"}', True)
    text, whole = write_json(["x"] * MIB, 100)
    assert (whole, len(text) < 110) == (False, True)
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Unreadable):
        write_json(deep, 100_000)
