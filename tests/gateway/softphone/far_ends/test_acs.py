"""Azure Communication Services played from its own side: what it takes, what it holds against the other side."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest

from audio.formats import PCM16_16K, PCM16_24K
from gateway.softphone.far_ends.acs import MAX_AHEAD_MS, AcsFarEnd

SOUND_20 = b"\x00\x20" * 320  # 20 ms at 16 kHz


def far_end() -> AcsFarEnd:
    return AcsFarEnd("+4930111", "+4930222", format=PCM16_16K)


def plays(payload: bytes) -> bytes:
    encoded = b64encode(payload).decode()
    return orjson.dumps({"Kind": "AudioData", "AudioData": {"Data": encoded}, "StopAudio": None})


STOP = orjson.dumps({"Kind": "StopAudio", "AudioData": None, "StopAudio": {}})


def test_sound_is_heard_in_real_time_and_dropped_at_a_stop() -> None:
    end = far_end()
    for _ in range(10):
        end.text(plays(SOUND_20), 1_000)
    assert end.ear.heard_bytes(1_050) == 1600
    end.text(STOP, 1_100)
    assert (end.stops, end.ear.heard_bytes(2_000)) == (1, 3200)
    end.text(plays(SOUND_20), 2_000)
    assert end.ear.heard_bytes(3_000) == 3200 + 640
    assert end.broken == []


def test_sound_is_dropped_if_nobody_has_asked_for_both_ways() -> None:
    end = far_end()
    end.bidirectional = False
    end.text(plays(SOUND_20), 0)
    assert (end.ear.heard_bytes(1_000), end.broken) == (0, [])


def test_the_answer_chooses_the_sound() -> None:
    end = far_end()
    end.answered(PCM16_24K, bidirectional=False)
    assert (end.format, end.ear.format, end.bidirectional) == (PCM16_24K, PCM16_24K, False)


def test_nothing_that_it_is_sent_is_answered() -> None:
    end = far_end()
    assert end.text(plays(SOUND_20), 0) == end.text(STOP, 0) == end.binary(b"", 0) == end.on_time(10_000) == []
    assert (end.wake_ms, end.close_code) == (None, None)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"nonsense", "a message that is not JSON"),
        ({"kind": "AudioData", "audioData": {"data": "AAAA"}, "stopAudio": None}, "a message of another shape"),
        ({"Kind": "AudioData", "AudioData": {"Data": "AAAA"}}, "a message of another shape"),
        ({"Kind": "StopAudio", "AudioData": None, "StopAudio": None}, "a message of another shape"),
        ({"Kind": "StopAudio", "AudioData": None, "StopAudio": {}, "more": 1}, "a message with other names"),
        ({"Kind": "AudioData", "AudioData": {"Data": "A%%A"}, "StopAudio": None}, "sound that is not base64"),
        ({"Kind": "AudioData", "AudioData": {"Data": "AAAA"}, "StopAudio": None}, "sound that is not whole samples"),
        ({"Kind": "AudioData", "AudioData": {"Data": ""}, "StopAudio": None}, "sound that is not whole samples"),
        ([], "a message of another shape"),
    ],
)
def test_what_the_service_would_not_take_is_held_against_the_other_side(message: Any, what: str) -> None:
    end = far_end()
    for _ in range(2):
        end.text(message if isinstance(message, bytes) else orjson.dumps(message), 0)
    assert (end.broken, end.ear.heard_bytes(1_000)) == ([what], 0)


def test_binary_messages_and_too_much_sound_are_held_against_the_other_side() -> None:
    end = far_end()
    end.binary(SOUND_20, 0)
    for _ in range(MAX_AHEAD_MS // 20):
        end.text(plays(SOUND_20), 0)
    assert end.broken == ["a binary message"]
    end.text(plays(SOUND_20), 0)
    assert end.broken == ["a binary message", "more sound ahead than may be"]


def test_its_own_messages_say_what_the_service_says() -> None:
    end = far_end()
    (ring,) = orjson.loads(end.ring())
    assert ring["data"]["from"]["phoneNumber"]["value"] == "+4930111"
    assert (ring["data"]["incomingCallContext"], ring["data"]["correlationId"]) == (end.context, end.correlation_id)
    (connected,) = orjson.loads(end.event("CallConnected"))
    assert connected["type"] == "Microsoft.Communication.CallConnected"
    assert connected["data"]["callConnectionId"] == end.connection_id
    assert orjson.loads(end.metadata())["audioMetadata"] | {"subscriptionId": ""} == {
        "subscriptionId": "",
        "encoding": "PCM",
        "sampleRate": 16000,
        "channels": 1,
        "length": 640,
    }
    loud, silent = (orjson.loads(end.sound(payload, 1.5))["audioData"] for payload in (SOUND_20, bytes(640)))
    assert (loud["silent"], silent["silent"], loud["timestamp"]) == (False, True, "1970-01-01T00:00:01.500Z")
    assert orjson.loads(end.key("#")) == {"kind": "DtmfData", "dtmfData": {"data": "#"}}
    assert end.socket_headers("t")["x-ms-call-connection-id"] == end.connection_id
