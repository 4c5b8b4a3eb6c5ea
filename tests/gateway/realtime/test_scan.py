"""Tests for gateway/realtime/scan.py."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_24K, PCMU_8K
from gateway.realtime.scan import Delta, decode_audio, scan_append, scan_delta
from sessions.errors import WireError

SOUND = base64.b64encode(bytes(range(250)) * 4)
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": SOUND.decode(),
}


def append(**fields: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": SOUND.decode(), **fields}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_append_is_scanned_with_its_keys_in_any_order(separators: tuple[str, str]) -> None:
    for message in (append(), append(event_id="e"), dict(reversed(append(event_id="e").items()))):
        assert scan_append(json.dumps(message, separators=separators).encode()) == SOUND


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_delta_is_scanned_with_its_keys_in_any_order(separators: tuple[str, str]) -> None:
    for message in (DELTA, dict(reversed(DELTA.items())), {**DELTA, "obfuscation": "xyz", "new": {"a": [1]}}):
        text = json.dumps(message, separators=separators).encode()
        assert scan_delta(text) == Delta("resp_1", "item_1", 0, 0, SOUND)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'"audio":"AAAA"',
        b'{"type":"input_audio_buffer.append"}',
        b'{"type":"input_audio_buffer.append","audio":"AAAA"',
        b'{"type":"input_audio_buffer.append","audio":"AAAA"}}',
        b'{"type":"input_audio_buffer.append","audio":"AAAA","audio":"BBBB"}',
        b'{"type":"input_audio_buffer.append","audio":"AAAA", "audio" :"BBBB"}',
        b'{"audio" : "BBBB","type":"input_audio_buffer.append","audio":"AAAA"}',
        b'{"type":"input_audio_buffer.append","audio":null}',
        b'{"type":"input_audio_buffer.append","x":{"audio":"AAAA"}}',
        b'{"type":"input_audio_buffer.append","audio":"","x":{"audio":"AAAA"}}',
        b'{"type":"input_audio_buffer.append","audio":"AA\\u0041A"}',
        b'{"type":"input_audio_buffer.append","audio":"AA\xc3\xa4A"}',
        b'{"type":"input_audio_buffer.append","event_id":"\\"audio\\":\\"BBBB","audio":"AAAA"}',
        b'{"type":"input_audio_buffer.append","event_id":1,"audio":"AAAA"}',
        b'{"type":"input_audio_buffer.append","event_id":null,"audio":"AAAA"}',
        b'{"type":"input_audio_buffer.append","more":1,"audio":"AAAA"}',
        b'{"type":"input_audio_buffer.commit","audio":"AAAA"}',
        b'[{"type":"input_audio_buffer.append","audio":"AAAA"}]',
    ],
)
def test_a_message_that_is_not_certainly_an_append_is_left_to_the_parser(text: bytes) -> None:
    assert scan_append(text) is None


@pytest.mark.parametrize(
    "change",
    [
        {"output_index": "0"},
        {"output_index": True},
        {"content_index": 0.0},
        {"content_index": None},
        {"response_id": None},
        {"item_id": 7},
        {"type": "response.output_text.delta"},
        {"delta": None},
        {"item_id": "a\\b"},
        {"delta": "a\\b"},
    ],
)
def test_a_delta_of_another_shape_is_left_to_the_parser(change: dict[str, Any]) -> None:
    assert scan_delta(orjson.dumps({**DELTA, **change})) is None


def test_a_long_rest_is_left_to_the_parser() -> None:
    assert scan_append(orjson.dumps(append(event_id="x" * 5000))) is None
    assert scan_delta(orjson.dumps({**DELTA, "note": "x" * 5000})) is None


def test_the_error_for_invalid_base64_or_half_a_sample_names_its_field() -> None:
    assert decode_audio(b"AAAA", PCMU_8K) == b"\0\0\0"
    assert decode_audio("AAA=", PCM16_24K) == b"\0\0"
    for bad in (b"AAAA", b"A", b"AA\n==", b"AA==AA==", "ä", b"AA AA"):
        with pytest.raises(WireError) as caught:
            decode_audio(bad, PCM16_24K)
        assert caught.value.param == "audio"


# ---- for any message, a result of the scan equals the parser's

busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

words = st.one_of(
    st.sampled_from(
        ["audio", "delta", "type", "event_id", '"audio":"AAAA', '"delta":"AAAA"', "\\", '"', "{", "}", ","]
    ),
    st.sampled_from(["input_audio_buffer.append", "response.output_audio.delta", "AAAA", "AA==", "", "é", "\n"]),
    st.text(max_size=4),
)
values = st.recursive(
    st.one_of(words, st.integers(-1, 3), st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=3)),
    max_leaves=4,
)
KEYS = ["type", "audio", "delta", "event_id", "response_id", "item_id", "output_index", "content_index", "x"]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Objects similar to the two shapes: pairs omitted, doubled, of other types, shuffled, spaced, cut or patched."""
    base = draw(st.sampled_from([list(append(event_id="e").items()), list(DELTA.items()), list(append().items())]))
    pairs: list[tuple[str, Any]] = [(k, "AAAA" if k in ("audio", "delta") else v) for k, v in base]
    pairs += draw(st.lists(st.tuples(st.one_of(st.sampled_from(KEYS), words), values), max_size=2))
    if draw(st.booleans()):
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    pairs = draw(st.permutations(pairs))
    colon, comma = draw(st.sampled_from([(b":", b","), (b": ", b", "), (b" :", b" ,"), (b"\n:\t", b",")]))
    escape = draw(st.booleans())
    parts = [json.dumps(k, ensure_ascii=escape).encode() + colon + json.dumps(v).encode() for k, v in pairs]
    text = b"{" + comma.join(parts) + b"}"
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at + cut :]
    return text


def decodes(audio: bytes) -> bool:
    try:
        decode_audio(audio)
    except WireError:
        return False
    return True


@busy_machine
@given(messages())
def test_a_scanned_append_equals_the_parsed_one(text: bytes) -> None:
    audio = scan_append(text)
    if audio is not None and decodes(audio):
        parsed = orjson.loads(text)
        assert parsed["type"] == "input_audio_buffer.append"
        assert parsed["audio"] == audio.decode()
        assert parsed.keys() <= {"type", "audio", "event_id"}


@busy_machine
@given(messages())
def test_a_scanned_delta_equals_the_parsed_one(text: bytes) -> None:
    delta = scan_delta(text)
    if delta is not None and decodes(delta.audio):
        parsed = orjson.loads(text)
        assert parsed["type"] == "response.output_audio.delta"
        assert parsed["delta"] == delta.audio.decode()
        assert [parsed[k] for k in Delta._fields[:4]] == list(delta[:4])


@busy_machine
@given(st.binary(max_size=60), st.sampled_from([b"audio", b"delta"]))
def test_any_sound_string_is_accepted_or_refused_as_by_the_parser(sound: bytes, key: bytes) -> None:
    kind = b"input_audio_buffer.append" if key == b"audio" else b"response.output_audio.delta"
    ids = b"" if key == b"audio" else b'"response_id":"r","item_id":"i","output_index":0,"content_index":0,'
    text = b'{"type":"' + kind + b'",' + ids + b'"' + key + b'":"' + sound + b'"}'
    found = scan_append(text) if key == b"audio" else scan_delta(text)
    audio = found.audio if isinstance(found, Delta) else found
    if audio is not None and decodes(audio):
        assert orjson.loads(text)[key.decode()] == audio.decode()
