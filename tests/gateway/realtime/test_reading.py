"""gateway/realtime/reading.py: JSON within bounds, and lone halves of surrogate pairs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.realtime.reading import (
    MAX_BACKSLASHES,
    MAX_HALVES_BYTES,
    MAX_PARTS,
    check_size,
    read_halves,
    read_json,
    read_object,
)
from sessions.errors import WireError

HALF = r'"\ud83d"'


def with_half(rest: str) -> bytes:
    return f'{{"half":{HALF},"rest":{rest}}}'.encode()


@pytest.mark.parametrize("half", [r"\ud83d", r"\uD83D", r"\ude00", r"\udfff", r"\ud83d\ud83d", r"\ud83dx", r"\ud83d\n"])
def test_a_lone_half_is_a_replacement_character_wherever_it_stands(half: str) -> None:
    text = f'{{"{half}": ["{half}", {{"a": "x{half}"}}]}}'.encode()
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
    parsed = read_json(text)
    told = orjson.dumps(parsed).decode()
    assert ("\ufffd" in told, "\ud83d" in told) == (True, False)


def test_whole_pairs_beside_a_lone_half_stay() -> None:
    assert read_json(rb'{"a":"\ud83d\ude00 \ud83d \\ud83d"}') == {"a": "😀 \ufffd \\ud83d"}


@pytest.mark.parametrize("rest", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "{", "[1,]", "\x01"])
def test_a_half_makes_nothing_else_lawful(rest: str) -> None:
    with pytest.raises(WireError):
        read_object(with_half(rest))


@pytest.mark.parametrize(
    "text",
    [with_half('"\xff"')[:-2] + b"\xff}", b"\xff\xfe" + with_half("1"), HALF.encode(), b"[" + HALF.encode() + b"]"],
)
def test_bytes_that_are_no_object_in_utf_8_are_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        read_object(text)


@pytest.mark.parametrize("deep", ["[" * 200 + "]" * 200, "[" * 9_000 + "]" * 9_000, "[" * 100_000, '{"a":' * 9_000])
def test_depth_is_no_fault_of_ours(deep: str) -> None:
    with suppress(WireError):
        read_object(with_half(deep))


def test_the_slow_way_has_its_bound() -> None:
    with pytest.raises(ValueError, match="more than"):
        read_halves(with_half("[" + "1," * MAX_PARTS + "1]"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_is_read_the_slow_way_is_what_is_read_the_quick_way(value: Any) -> None:
    text = json.dumps(value).encode()
    assert read_json(b'{"half":' + HALF.encode() + b',"rest":' + text + b"}") == {
        "half": "\ufffd",
        "rest": read_json(text),
    }


@given(st.text(st.characters(categories=["Cs", "Lu", "So"])))
def test_whatever_is_read_can_be_written_again(words: str) -> None:
    assert read_json(orjson.dumps(read_json(json.dumps({words: words}).encode())))


def test_a_long_message_with_half_a_character_is_not_read_in_the_slow_way() -> None:
    fits = with_half('"' + "x" * (MAX_HALVES_BYTES - 100) + '"')
    assert read_json(fits)["half"] == "\ufffd"
    with pytest.raises(WireError, match="more than 262144 bytes"):
        read_object(with_half('"' + "x" * MAX_HALVES_BYTES + '"'))


def test_a_message_of_backslashes_is_not_read() -> None:
    check_size(b'"' + b"\\" * MAX_BACKSLASHES + b'"')
    with pytest.raises(WireError, match="backslashes"):
        check_size(b'"' + b"\\" * (MAX_BACKSLASHES + 2) + b'"')
