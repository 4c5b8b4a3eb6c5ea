"""gateway/realtime/reading.py: JSON within bounds, and lone surrogates."""

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
    check_keys,
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
def test_a_lone_surrogate_becomes_a_replacement_character_anywhere(half: str) -> None:
    text = f'{{"{half}": ["{half}", {{"a": "x{half}"}}]}}'.encode()
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
    parsed = read_json(text)
    serialised = orjson.dumps(parsed).decode()
    assert ("\ufffd" in serialised, "\ud83d" in serialised) == (True, False)


def test_surrogate_pairs_beside_a_lone_surrogate_stay() -> None:
    assert read_json(rb'{"a":"\ud83d\ude00 \ud83d \\ud83d"}') == {"a": "😀 \ufffd \\ud83d"}


@pytest.mark.parametrize("rest", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "{", "[1,]", "\x01"])
def test_a_lone_surrogate_does_not_make_other_errors_valid(rest: str) -> None:
    with pytest.raises(WireError):
        read_object(with_half(rest))


@pytest.mark.parametrize(
    "text",
    [with_half('"\xff"')[:-2] + b"\xff}", b"\xff\xfe" + with_half("1"), HALF.encode(), b"[" + HALF.encode() + b"]"],
)
def test_bytes_that_are_not_a_json_object_in_utf_8_are_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        read_object(text)


@pytest.mark.parametrize("deep", ["[" * 200 + "]" * 200, "[" * 9_000 + "]" * 9_000, "[" * 100_000, '{"a":' * 9_000])
def test_deep_nesting_is_a_wire_error(deep: str) -> None:
    with suppress(WireError):
        read_object(with_half(deep))


def test_the_slow_parser_is_bounded() -> None:
    with pytest.raises(ValueError, match="more than"):
        read_halves(with_half("[" + "1," * MAX_PARTS + "1]"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_the_slow_and_the_fast_parser_give_the_same_value(value: Any) -> None:
    text = json.dumps(value).encode()
    assert read_json(b'{"half":' + HALF.encode() + b',"rest":' + text + b"}") == {
        "half": "\ufffd",
        "rest": read_json(text),
    }


@given(st.text(st.characters(categories=["Cs", "Lu", "So"])))
def test_every_parsed_value_can_be_serialised_again(words: str) -> None:
    assert read_json(orjson.dumps(read_json(json.dumps({words: words}).encode())))


def test_a_long_message_with_a_lone_surrogate_is_refused() -> None:
    fits = with_half('"' + "x" * (MAX_HALVES_BYTES - 100) + '"')
    assert read_json(fits)["half"] == "\ufffd"
    with pytest.raises(WireError, match="more than 262144 bytes"):
        read_object(with_half('"' + "x" * MAX_HALVES_BYTES + '"'))


def test_a_message_of_backslashes_is_refused() -> None:
    check_size(b'"' + b"\\" * MAX_BACKSLASHES + b'"')
    with pytest.raises(WireError, match="backslashes"):
        check_size(b'"' + b"\\" * (MAX_BACKSLASHES + 2) + b'"')


@pytest.mark.parametrize("words", ["w", '\\"', "\\u0022", "é"])
def test_a_key_that_came_twice_is_found_in_long_and_short_messages(words: str) -> None:
    for count in (1, 100_000):
        fine = f'{{"type":"x","a":[{{"b":1}},{{"b":"c"}}],"words":"{words * count}"}}'.encode()
        check_keys(read_object(fine), fine)
        for twice in (
            fine.replace(b'"b":1', b'"b":1,"b":2'),
            fine.replace(b"{", b'{"words":"' + b"w" * count + b'",', 1),
        ):
            with pytest.raises(WireError, match="twice in one object"):
                check_keys(read_object(twice), twice)
