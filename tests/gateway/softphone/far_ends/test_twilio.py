"""The far end that plays Twilio's side of a media socket."""

from __future__ import annotations

from typing import Any

import orjson
import pybase64
import pytest

from audio.formats import PCM16_24K
from gateway.softphone.far_ends.twilio import TwilioStream, Warned

FRAME = b"\x7f" * 160


def stream(**changes: Any) -> TwilioStream:
    """A stream that has begun."""
    made = TwilioStream(account_sid="AC01", call_sid="CA02", stream_sid="MZ1", **changes)
    made.begin()
    return made


def sent(event: str, stream_sid: object = "MZ1", **fields: object) -> bytes:
    return orjson.dumps({"event": event, "streamSid": stream_sid, **fields})


def sound(ms: int) -> bytes:
    return sent("media", media={"payload": pybase64.b64encode(b"\x7f" * (8 * ms)).decode()})


def mark(name: str) -> bytes:
    return sent("mark", mark={"name": name})


def read(messages: list[bytes]) -> list[Any]:
    return [orjson.loads(message) for message in messages]


def names(messages: list[bytes]) -> list[str]:
    return [message["mark"]["name"] for message in read(messages)]


def test_what_it_sends_has_the_carriers_shape_and_counts_as_text() -> None:
    far_end = TwilioStream(account_sid="AC01", call_sid="CA02", stream_sid="MZ1", parameters={"from": "+49"})
    connected, start = read(far_end.begin())
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC01",
            "callSid": "CA02",
            "streamSid": "MZ1",
            "tracks": ["inbound"],
            "customParameters": {"from": "+49"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    far_end.speak(FRAME)
    (second,) = read(far_end.speak(FRAME))
    assert (second["sequenceNumber"], second["media"]["chunk"], second["media"]["timestamp"]) == ("3", "2", "20")
    assert read(far_end.press("#"))[0]["dtmf"] == {"track": "inbound_track", "digit": "#"}
    assert read(far_end.stop())[0]["stop"] == {"accountSid": "AC01", "callSid": "CA02"}


def test_signalwires_messages_are_wrapped_and_its_sound_is_linear() -> None:
    far_end = TwilioStream(account_sid="7d", call_sid="0f", stream_sid="c2", format=PCM16_24K, wrapped=True)
    _, start = read(far_end.begin())
    assert (start["eventType"], start["rawEvent"]["event"]) == ("start", "start")
    assert start["rawEvent"]["start"]["mediaFormat"] == {"encoding": "audio/x-L16", "sampleRate": 24000, "channels": 1}
    assert read(far_end.press("5"))[0]["rawEvent"]["dtmf"]["duration"] == 100
    assert "stop" not in read(far_end.stop())[0]["rawEvent"]


def test_frames_go_in_bunches_and_a_key_sends_the_rest_before_it() -> None:
    far_end = stream(bunch=5)
    assert [len(far_end.speak(FRAME)) for _ in range(6)] == [0, 0, 0, 0, 5, 0]
    assert [message["event"] for message in read(far_end.press("1"))] == ["media", "dtmf"]
    far_end.speak(FRAME)
    assert [message["event"] for message in read(far_end.stop())] == ["media", "stop"]


@pytest.mark.parametrize("digit", ["", "A", "12", "x"])
def test_a_telephone_has_twelve_keys(digit: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        stream().press(digit)


def test_marks_are_echoed_when_the_sound_before_them_was_played() -> None:
    far_end = stream()
    far_end.text(sound(200), 1_000)
    assert far_end.text(mark("one"), 1_000) == []
    far_end.text(sound(100), 1_000)
    far_end.text(mark("two"), 1_000)
    assert far_end.wake_ms == 1_200
    assert far_end.on_time(1_199) == []
    assert names(far_end.on_time(1_250)) == ["one"]
    assert names(far_end.on_time(1_300)) == ["two"]
    assert names(far_end.text(mark("now"), 2_000)) == ["now"]
    assert far_end.wake_ms is None
    assert far_end.warned == set()


def test_a_clear_drops_the_sound_and_echoes_all_marks() -> None:
    far_end = stream()
    far_end.text(sound(200), 0)
    far_end.text(mark("one"), 0)
    far_end.text(sound(200), 0)
    far_end.text(mark("two"), 0)
    assert names(far_end.text(sent("clear"), 250)) == ["one", "two"]
    assert far_end.ear.heard_bytes(1_000) == 8 * 250
    assert far_end.warned == set()


@pytest.mark.parametrize(
    "wrong",
    [
        b"no json",
        b"[]",
        sent("media"),
        sent("media", media={}),
        sent("media", media={"payload": 5}),
        sent("media", media={"payload": "*"}),
        sent("media", media={"payload": "YWJj", "track": "inbound"}),
        sent("media", stream_sid="MZ2", media={"payload": "YWJj"}),
        sent("media", media={"payload": "YWJj"}, more=1),
        sent("mark"),
        sent("mark", mark={"name": "a", "more": 1}),
        sent("mark", stream_sid=None, mark={"name": "a"}),
        sent("clear", more=1),
        sent("clear", stream_sid="MZ2"),
        sent("other"),
    ],
)
def test_what_is_not_exactly_of_the_protocol_is_ignored_and_warned_of_once(wrong: bytes) -> None:
    far_end = stream()
    far_end.text(sound(20), 0)
    assert far_end.text(wrong, 0) == far_end.text(wrong, 0) == []
    assert far_end.warned == {Warned.MALFORMED}
    assert far_end.ear.heard_bytes(10_000) == 160


def test_half_a_sample_is_malformed() -> None:
    far_end = stream(format=PCM16_24K)
    far_end.text(sent("media", media={"payload": "YWJj"}), 0)
    assert far_end.warned == {Warned.MALFORMED}


def test_binary_messages_sound_before_the_start_and_more_than_ten_minutes_are_warned_of() -> None:
    far_end = stream()
    far_end.binary(b"\x00", 0)
    assert far_end.warned == {Warned.BINARY}
    early = TwilioStream(account_sid="AC01", call_sid="CA02", stream_sid="MZ1")
    early.text(sound(20), 0)
    assert (early.warned, early.ear.runs) == ({Warned.PROTOCOL}, [])
    full = stream()
    for _ in range(61):
        full.text(sound(10_000), 0)
    assert full.warned == {Warned.DISCARDED}
    assert full.ear.heard_bytes(10**9) == 8 * 600_000


def test_after_the_stop_nothing_is_played_or_echoed() -> None:
    far_end = stream()
    far_end.text(sound(20), 0)
    far_end.text(mark("one"), 0)
    far_end.stop()
    assert (far_end.text(sound(20), 30), far_end.on_time(100), far_end.wake_ms) == ([], [], None)
    assert far_end.ear.heard_bytes(1_000) == 160
