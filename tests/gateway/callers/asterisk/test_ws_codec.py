"""The codec of Asterisk's WebSocket channel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.marks import MAX_NAME_BYTES
from audio.playout import FarEndRules, Framing
from gateway.callers.asterisk.ws_codec import MAX_ASKED, MAX_UNANSWERED, ChanWebsocketCodec
from gateway.callers.asterisk.ws_messages import MAX_COMMAND_BYTES
from gateway.callers.phone.codec import (
    CallRefused,
    Dropped,
    Echoed,
    FarEndEvent,
    FarEndSilent,
    Full,
    Heard,
    Holds,
    MediaStarted,
    PhoneCodec,
    Pressed,
)
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

FACTS = CallerFacts.of("+4930111", "+4930222", carrier_call_id="1795228371.19")
START = {
    "event": "MEDIA_START",
    "connection_id": "patchbay",
    "channel": "WebSocket/patchbay/0x7f75",
    "channel_id": "box-1795228371.20",
    "format": "ulaw",
    "optimal_frame_size": 160,
    "ptime": 20,
    "channel_variables": {"__INH": "yes"},
}
PLAIN_START = (
    b"MEDIA_START connection_id:patchbay channel:WebSocket/patchbay/0x7f75 channel_id:box-1795228371.20 "
    b"format:slin16 optimal_frame_size:640 ptime:20"
)


def says(codec: PhoneCodec, **message: Any) -> FarEndEvent | None:
    return codec.read_text(orjson.dumps(message))


def rules(format: AudioFormat) -> FarEndRules:
    return FarEndRules(format, 200, Framing.WHOLE, 20, 200, counts_dropped=True)


def begun(message: bytes | None = None, facts: CallerFacts = FACTS) -> ChanWebsocketCodec:
    codec = ChanWebsocketCodec(facts)
    assert isinstance(codec.read_text(message or orjson.dumps(START)), MediaStarted)
    return codec


@pytest.mark.parametrize(
    ("name", "frame_bytes", "format"),
    [
        ("ulaw", 160, PCMU_8K),
        ("alaw", 160, PCMA_8K),
        ("slin", 320, PCM16_8K),
        ("slin16", 640, PCM16_16K),
        ("slin24", 960, PCM16_24K),
    ],
)
def test_a_call_begins_in_the_channels_format(name: str, frame_bytes: int, format: AudioFormat) -> None:
    started = says(ChanWebsocketCodec(FACTS), **{**START, "format": name, "optimal_frame_size": frame_bytes})
    assert started == MediaStarted(rules(format), FACTS, 20)


def test_a_call_begins_in_plain_text() -> None:
    started = ChanWebsocketCodec(FACTS).read_text(PLAIN_START)
    assert started == MediaStarted(rules(PCM16_16K), FACTS, 20)


def test_the_channels_id_stands_in_where_no_call_id_was_registered() -> None:
    started = says(ChanWebsocketCodec(CallerFacts.of("+4930111")), **START)
    assert isinstance(started, MediaStarted)
    assert (started.facts.carrier_call_id, started.facts.number) == ("box-1795228371.20", "+4930111")


def test_longer_frames_are_taken_as_they_are() -> None:
    started = says(ChanWebsocketCodec(FACTS), **{**START, "optimal_frame_size": 480})
    assert isinstance(started, MediaStarted)
    assert (started.rules.frame_ms, started.frame_ms) == (60, 60)


@pytest.mark.parametrize(
    "odd",
    [
        {"format": "opus", "optimal_frame_size": 0},
        {"format": "g722"},
        {"format": ""},
        {"optimal_frame_size": 0},  # it passes sound through, and no command works
        {"optimal_frame_size": 161},
        {"optimal_frame_size": 8},
        {"optimal_frame_size": 1600},
    ],
)
def test_sound_that_is_not_spoken_here_refuses_the_call(odd: dict[str, Any]) -> None:
    with pytest.raises(CallRefused):
        says(ChanWebsocketCodec(FACTS), **{**START, **odd})


@pytest.mark.parametrize(
    "message",
    [
        {**START, "format": 7},
        {**START, "optimal_frame_size": "many"},
        {**START, "optimal_frame_size": -160},
        {**START, "optimal_frame_size": True},
        {**START, "optimal_frame_size": 160.0},
        {"event": "MEDIA_START"},
        {"event": "DTMF_END"},
        {"event": "DTMF_END", "digit": ""},
        {"event": "DTMF_END", "digit": "12"},
        {"event": "DTMF_END", "digit": "x"},
        {"event": "MEDIA_MARK_PROCESSED", "channel_id": "C"},
        {"event": "STATUS", "queue_length": None},
        {"event": "ERROR", "error_text": "unhandled"},
        {"event": None},
    ],
)
def test_a_known_event_of_the_wrong_shape_is_malformed(message: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        says(begun(), **message)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b'{"event":"DTMF_END","channel_id":"C","digit":"#"}', Pressed("#")),
        (b"DTMF_END digit:a channel_id:C", Pressed("A")),
        (b'{"event":"MEDIA_MARK_PROCESSED","channel_id":"C","correlation_id":"0-1"}', Echoed("0-1")),
        (b"MEDIA_MARK_PROCESSED 0-1", Echoed("0-1")),
        (b"MEDIA_MARK_PROCESSED correlation_id:0-1 channel_id:C", Echoed("0-1")),
        (b'{"event":"MEDIA_XOFF","channel_id":"C"}', Full(True)),
        (b"MEDIA_XON channel_id:C", Full(False)),
        (b'{"event":"STATUS","channel_id":"C","queue_length":7,"media_paused":false}', Holds(140)),
        (b"STATUS queue_length:0 xon_level:800", Holds(0)),
        (b'{"event":"QUEUE_DRAINED","channel_id":"C"}', None),
        (b'{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"C","correlation_id":"b1"}', None),
        (b'{"event":"OF_A_LATER_RELEASE"}', None),
        (b"OF_A_LATER_RELEASE with:fields", None),
    ],
)
def test_events_are_read_in_both_forms(message: bytes, event: FarEndEvent | None) -> None:
    assert begun().read_text(message) == event


def test_an_empty_queue_ends_a_hold() -> None:
    codec = begun()
    codec.read_text(b"MEDIA_XOFF")
    assert codec.read_text(b"QUEUE_DRAINED") == Full(False)
    assert codec.read_text(b"QUEUE_DRAINED") is None


def test_binary_messages_are_sound_both_ways() -> None:
    codec = ChanWebsocketCodec(FACTS)
    assert codec.read_binary(b"\x7f" * 160) == Heard(b"\x7f" * 160)
    assert codec.sound(b"\x7f" * 320) == b"\x7f" * 320
    assert (codec.sound_is_binary, codec.all_binary, codec.early_ms, codec.heartbeat_ms) == (True, False, 1_000, 20_000)


def commands(codec: ChanWebsocketCodec) -> list[bytes]:
    made: Sequence[Sequence[bytes]] = (codec.clear(), [codec.mark("0-1")], codec.heartbeat(), codec.goodbye("ended"))
    return [message for messages in made for message in messages]


def test_commands_are_in_the_form_of_the_first_message() -> None:
    assert commands(begun()) == [
        b'{"command":"PAUSE_MEDIA"}',
        b'{"command":"REPORT_QUEUE_DRAINED"}',
        b'{"command":"GET_STATUS"}',
        b'{"command":"FLUSH_MEDIA"}',
        b'{"command":"CONTINUE_MEDIA"}',
        b'{"command":"MARK_MEDIA","correlation_id":"0-1"}',
        b'{"command":"GET_STATUS"}',
        b'{"command":"HANGUP"}',
    ]
    assert commands(begun(PLAIN_START)) == [
        b"REPORT_QUEUE_DRAINED",
        b"GET_STATUS",
        b"FLUSH_MEDIA",
        b"MARK_MEDIA 0-1",
        b"GET_STATUS",
        b"HANGUP",
    ]


def test_a_second_first_message_does_not_change_the_form() -> None:
    codec = begun()
    assert isinstance(codec.read_text(PLAIN_START), MediaStarted)  # for the receiver to refuse
    assert codec.mark("0-1").startswith(b"{")
    assert codec.read_text(b"STATUS queue_length:2") == Holds(40)


def test_no_command_is_longer_than_asterisk_takes() -> None:
    assert len(begun().mark("9" * MAX_NAME_BYTES)) <= MAX_COMMAND_BYTES


def test_nothing_is_said_before_the_channel_has_spoken() -> None:
    codec = ChanWebsocketCodec(FACTS)
    assert [*codec.opening(), *codec.heartbeat(), *codec.goodbye("bad_input")] == []


def test_a_channel_that_stops_answering_heartbeats_is_lost() -> None:
    codec = begun()
    codec.heartbeat()
    codec.read_text(b'{"event":"STATUS","queue_length":0}')
    for _ in range(MAX_UNANSWERED):
        assert codec.heartbeat()
    with pytest.raises(FarEndSilent):
        codec.heartbeat()


def test_a_channel_that_never_answers_heartbeats_is_of_a_release_that_does_not() -> None:
    codec = begun()
    for _ in range(9 * MAX_UNANSWERED):
        assert codec.heartbeat()


# ---- what a flush has dropped

STATUS = b'{"event":"STATUS","queue_length":%d}'
PLAIN_STATUS = b"STATUS channel_id:C queue_length:%d xon_level:800 media_paused:false"


@pytest.mark.parametrize(("start", "status"), [(orjson.dumps(START), STATUS), (PLAIN_START, PLAIN_STATUS)])
def test_each_answer_is_for_what_was_asked(start: bytes, status: bytes) -> None:
    codec = begun(start)
    codec.heartbeat()
    codec.clear()
    codec.clear()
    codec.heartbeat()  # the one before it was not answered, and what was asked before that one neither
    answers = [codec.read_text(status % n) for n in range(1, 5)]
    assert answers == [Dropped(20), Dropped(40), Holds(60), Holds(80)]


def test_a_clear_that_is_not_answered_until_two_heartbeats_later_is_forgotten() -> None:
    codec = begun()
    codec.clear()
    codec.heartbeat()
    codec.heartbeat()
    assert codec.read_text(STATUS % 7) == Holds(140)


def test_an_answer_that_makes_no_sense_is_used_up() -> None:
    codec = begun()
    codec.clear()
    with pytest.raises(WireError):
        codec.read_text(b'{"event":"STATUS","queue_length":-7}')
    assert codec.read_text(STATUS % 7) == Holds(140)


def test_a_channel_that_never_answers_costs_no_memory() -> None:
    codec = begun()
    for _ in range(9 * MAX_ASKED):
        codec.clear()
    answers = [codec.read_text(STATUS % 0) for _ in range(MAX_ASKED + 1)]
    assert answers == [Dropped(0)] * MAX_ASKED + [Holds(0)]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10**7)
    | st.text(max_size=4)
    | st.sampled_from(["ulaw", "slin16", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(
    ["MEDIA_START", "MEDIA_MARK_PROCESSED", "DTMF_END", "STATUS", "MEDIA_XOFF", "QUEUE_DRAINED", "ERROR", "NEW", ""]
)
fields = st.dictionaries(
    st.sampled_from(["format", "optimal_frame_size", "digit", "queue_length", "correlation_id", "channel_id", "event"]),
    json_values,
)
near = st.builds(lambda name, rest: orjson.dumps({"event": name, **rest}), names, fields)
plain = st.builds(
    lambda name, rest: " ".join([name, *(f"{field}:{value}" for field, value in rest.items())]).encode(
        "utf-8", "surrogatepass"
    ),
    names,
    fields,
)


@given(messages=st.lists(near | plain | st.binary(max_size=40) | json_values.map(orjson.dumps), max_size=6))
def test_whatever_comes_only_the_errors_of_the_contract_leave_the_codec(messages: list[bytes]) -> None:
    codec = ChanWebsocketCodec(FACTS)
    for message in messages:
        for read in (codec.read_text, codec.read_binary):
            with suppress(WireError, CallRefused):
                read(message)
        assert all(len(made) <= MAX_COMMAND_BYTES for made in (*codec.clear(), codec.mark("0-1"), *codec.goodbye("")))
