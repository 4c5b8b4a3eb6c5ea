"""The media messages of Azure Communication Services, read and written."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audio.formats import PCM16_16K, PCM16_24K
from audio.playout import FarEndRules, Framing
from gateway.callers.acs.codec import AcsCodec
from gateway.callers.phone.codec import CallRefused, Echoed, Heard, MediaStarted, Pressed
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

FACTS = CallerFacts.of("+4930111", "+4930222")
METADATA = {"subscriptionId": "00", "encoding": "PCM", "sampleRate": 24000, "channels": 1, "length": 960}
PAYLOAD = bytes(range(240)) * 4


def read(message: Any, codec: AcsCodec | None = None) -> Any:
    raw = message if isinstance(message, bytes) else orjson.dumps(message)
    return (codec or AcsCodec(FACTS)).read_text(raw)


def metadata(**changes: Any) -> dict[str, Any]:
    return {"kind": "AudioMetadata", "audioMetadata": METADATA | changes}


def sound(payload: str | None, **changes: Any) -> dict[str, Any]:
    body = {"timestamp": "2026-11-21T02:00:00.020Z", "participantRawID": "4:+15551230000", "data": payload}
    return {"kind": "AudioData", "audioData": body | {"silent": False} | changes}


@pytest.mark.parametrize(
    ("rate_hz", "length", "format", "frame_ms"),
    [
        (24000, 960, PCM16_24K, 20),
        (16000, 640, PCM16_16K, 20),
        (16000, 1280, PCM16_16K, 40),
        (24000, None, PCM16_24K, 20),
        (24000, 961, PCM16_24K, 20),
        (24000, 10**9, PCM16_24K, 20),
        (24000, -960, PCM16_24K, 20),
    ],
)
def test_the_first_message_names_the_format(rate_hz: int, length: int | None, format: object, frame_ms: int) -> None:
    started = read(metadata(sampleRate=rate_hz, length=length))
    assert started == MediaStarted(FarEndRules(format, 200, Framing.ANY), FACTS, frame_ms)  # type: ignore[arg-type]
    assert started.rules.mark_every_ms is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sampleRate": 8000},
        {"sampleRate": "24000"},
        {"sampleRate": 24000.5},
        {"sampleRate": True},
        {"sampleRate": None},
        {"encoding": "MULAW"},
        {"encoding": None},
        {"channels": 2},
        {"channels": True},
    ],
)
def test_sound_of_another_make_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CallRefused):
        read(metadata(**changes))


@pytest.mark.parametrize("channels", [1, "mono", "Mono"])
def test_one_channel_is_named_in_any_way(channels: object) -> None:
    assert isinstance(read(metadata(channels=channels, encoding="pcm")), MediaStarted)


def test_sound_is_read_whatever_its_fields_order_and_case() -> None:
    encoded = b64encode(PAYLOAD).decode()
    body = {"data": encoded, "silent": False}
    for message in (
        sound(encoded),
        sound(encoded, participantRawID=None),
        sound(encoded, more={"data": "x"}),
        {"kind": "AudioData", "audioData": body},
        {"audioData": body, "kind": "AudioData"},
        {"Kind": "AUDIODATA", "AudioData": {"Data": encoded}},
        {"kind": "AudioData", "audioData": {"more": {"data": "QUFB"}, "data": encoded}},
        {"kind": "AudioData", "audioData": {"more": {"data": "QUFB"}, "data": encoded, "silent": False}},
        orjson.dumps(sound(encoded), option=orjson.OPT_INDENT_2),
    ):
        assert read(message) == Heard(PAYLOAD), message


def test_a_name_in_another_fields_text_is_not_the_sound() -> None:
    encoded = b64encode(PAYLOAD).decode()
    for odd in ('"data":"QUFB"', '\\"data":"', '{"data":"QUFB"}', "data"):
        assert read(sound(encoded, participantRawID=odd)) == Heard(PAYLOAD), odd


def test_a_silent_frame_is_as_long_as_any_other() -> None:
    codec = AcsCodec(FACTS)
    read(metadata(sampleRate=16000, length=640), codec)
    assert read(sound(b64encode(bytes(640)).decode(), silent=True), codec) == Heard(bytes(640))
    for missing in ("", None):
        assert read(sound(missing, silent=True), codec) == Heard(bytes(640))


@pytest.mark.parametrize("payload", ["", None, 7, "QUF", "Q%%B", "QUFB\n", "ÄÄÄÄ"])
def test_sound_that_is_none_is_malformed(payload: Any) -> None:
    with pytest.raises(WireError) as found:
        read(sound(payload))
    assert found.value.code == "invalid_sound"
    assert str(payload or "sound") not in found.value.message or not payload


@pytest.mark.parametrize(
    ("data", "key"),
    [("3", "3"), ("*", "*"), ("#", "#"), ("asterisk", "*"), ("Pound", "#"), ("a", "A"), ("D", "D"), ("seven", "7")],
)
def test_keys_are_read_however_they_are_spelt(data: str, key: str) -> None:
    stamped = {"data": data, "timestamp": "2026-11-21T02:00:00.020Z", "participantRawID": "4:+1"}
    assert read({"kind": "DtmfData", "dtmfData": stamped}) == Pressed(key)


@pytest.mark.parametrize("data", ["", "12", "E", None, 3, ["3"]])
def test_a_key_that_is_none_is_malformed(data: Any) -> None:
    with pytest.raises(WireError):
        read({"kind": "DtmfData", "dtmfData": {"data": data}})


def test_marks_are_understood_and_asked_for_only_if_the_settings_say_so() -> None:
    for status in ("Completed", "Cancelled"):
        assert read({"kind": "MarkData", "markData": {"id": "0-1", "status": status}}) == Echoed("0-1")
    with pytest.raises(WireError):
        read({"kind": "MarkData", "markData": {"id": 1}})
    assert read(metadata(), AcsCodec(FACTS, marks=True)).rules.mark_every_ms == 200
    assert orjson.loads(AcsCodec(FACTS).mark("0-1"))["AudioData"]["Mark"] == {"Id": "0-1"}


def test_kinds_that_may_be_added_are_passed_over() -> None:
    assert read({"kind": "TranscriptionData", "transcriptionData": {"text": "hello"}}) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"nonsense",
        b"[]",
        b"7",
        b"{}",
        b'{"kind":7}',
        b'{"kind":"AudioData"}',
        b'{"kind":"AudioData","audioData":[]}',
    ],
)
def test_what_is_not_of_the_protocol_is_malformed(message: bytes) -> None:
    with pytest.raises(WireError):
        read(message)


def test_binary_messages_are_malformed() -> None:
    with pytest.raises(WireError):
        AcsCodec(FACTS).read_binary(b"\x00\x00")


def test_what_is_sent_has_the_names_that_the_service_takes() -> None:
    codec = AcsCodec(FACTS)
    played = orjson.loads(codec.sound(PAYLOAD))
    assert played == {
        "Kind": "AudioData",
        "AudioData": {"Data": b64encode(PAYLOAD).decode()},
        "StopAudio": None,
    }
    assert b64decode(played["AudioData"]["Data"]) == PAYLOAD
    (stop,) = codec.clear()
    assert orjson.loads(stop) == {"Kind": "StopAudio", "AudioData": None, "StopAudio": {}}
    assert (*codec.opening(), *codec.heartbeat(), *codec.goodbye("ended")) == ()


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
_names = st.sampled_from(
    [
        "kind",
        "Kind",
        "audioData",
        "AudioMetadata",
        "dtmfData",
        "markData",
        "data",
        "sampleRate",
        "length",
        "silent",
        "id",
    ]
)
_kinds = st.sampled_from(["AudioData", "audiometadata", "DtmfData", "MarkData", "StopAudio"])
_bodies = st.dictionaries(_names | st.text(max_size=8), _values, max_size=6)


@given(st.binary(max_size=200))
@example(b'{"kind":"AudioData","audioData":{"data":"')
@example(b'{"kind":"AudioData","audioData":{"silent":false}}')
def test_any_bytes_are_read_or_malformed(message: bytes) -> None:
    for raw in (
        message,
        b'{"kind":"AudioData","audioData":{' + message,
        b'{"kind":"AudioData","audioData":{"data":"' + message,
    ):
        with contextlib.suppress(WireError, CallRefused):
            read(raw)


@given(st.dictionaries(_names, _bodies | _values, max_size=4), _kinds, _bodies)
def test_any_json_is_read_or_malformed(fields: dict[str, Any], kind: str, body: dict[str, Any]) -> None:
    for message in (fields, {**fields, "kind": kind, kind: body}, {"Kind": kind, kind.upper(): {**body, **fields}}):
        try:
            read(orjson.dumps(message))
        except (WireError, CallRefused):
            pass
        except orjson.JSONEncodeError:
            return  # an integer or a text that JSON here cannot carry
