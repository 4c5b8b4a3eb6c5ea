"""The messages of Twilio's and SignalWire's media sockets."""

from __future__ import annotations

from typing import Any

import orjson
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_16K, PCM16_24K, PCMU_8K, AudioFormat
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.codec import CallRefused, Echoed, Heard, MediaStarted, Pressed, Stopped
from gateway.callers.twilio.codec import TwilioCodec
from sessions.caller_facts import CallerFacts, Direction
from sessions.errors import WireError

MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
START: dict[str, Any] = {
    "streamSid": "MZ0a",
    "accountSid": "AC01",
    "callSid": "CA02",
    "tracks": ["inbound"],
    "customParameters": {"from": "+4930111", "to": "+4930222", "direction": "inbound", "shop": "north"},
    "mediaFormat": MULAW,
}
# As the carrier writes it, in this order.
MEDIA = (
    '{"event":"media","sequenceNumber":"4","streamSid":"MZ0a","media":'
    '{"track":"inbound","chunk":"3","timestamp":"41","payload":"%s"}}'
)


def message(event: str, **fields: object) -> bytes:
    return orjson.dumps({"event": event, "sequenceNumber": "1", "streamSid": "MZ0a", **fields})


def start(**fields: object) -> bytes:
    return message("start", start={**START, **fields})


def media(payload: bytes, **fields: object) -> bytes:
    sound = {"track": "inbound", "chunk": "3", "timestamp": "41", "payload": pybase64.b64encode(payload).decode()}
    return message("media", media={**sound, **fields})


@pytest.fixture
def fresh() -> TwilioCodec:
    return TwilioCodec("AC01", "CA02")


@pytest.fixture
def codec(fresh: TwilioCodec) -> TwilioCodec:
    assert isinstance(fresh.read_text(start()), MediaStarted)
    return fresh


def test_the_start_gives_format_rules_and_facts(fresh: TwilioCodec) -> None:
    assert fresh.read_text(b'{"event":"connected","protocol":"Call","version":"1.0.0"}') is None
    started = fresh.read_text(start())
    assert started == MediaStarted(
        FarEndRules(PCMU_8K, 400, Framing.ANY, 20, 200),
        CallerFacts.of("+4930111", "+4930222", "inbound", {"shop": "north"}, "CA02"),
    )
    assert "4930111" not in repr(started)


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "format"),
    [
        ("audio/x-mulaw", 8000, PCMU_8K),
        ("audio/x-L16", 16000, PCM16_16K),
        ("audio/x-l16", "24000", PCM16_24K),
    ],
)
def test_the_format_is_read_and_never_assumed(
    fresh: TwilioCodec, encoding: str, rate_hz: object, format: AudioFormat
) -> None:
    started = fresh.read_text(start(mediaFormat={"encoding": encoding, "sampleRate": rate_hz, "channels": "1"}))
    assert isinstance(started, MediaStarted)
    assert started.rules.format == format


@pytest.mark.parametrize(
    "stated",
    [
        None,
        "audio/x-mulaw",
        {"encoding": "audio/x-mulaw"},
        {**MULAW, "sampleRate": 16000},
        {**MULAW, "sampleRate": True},
        {**MULAW, "sampleRate": 8000.0},
        {**MULAW, "sampleRate": "٨000"},
        {**MULAW, "channels": 2},
        {**MULAW, "channels": None},
        {**MULAW, "encoding": "audio/opus"},
        {**MULAW, "encoding": 7},
    ],
)
def test_a_format_that_is_not_spoken_here_is_refused(fresh: TwilioCodec, stated: object) -> None:
    with pytest.raises(CallRefused, match="format"):
        fresh.read_text(start(mediaFormat=stated))


@pytest.mark.parametrize(
    "fields",
    [{"callSid": "CA03"}, {"accountSid": "AC02"}, {"callSid": None}, {"accountSid": ["AC01"]}, {"callSid": "ca02"}],
)
def test_a_start_for_another_call_is_refused(fresh: TwilioCodec, fields: dict[str, object]) -> None:
    with pytest.raises(CallRefused, match="another call"):
        fresh.read_text(start(**fields))


@pytest.mark.parametrize("stream_sid", ["", None, 7, "M" * 129])
def test_a_start_without_a_usable_stream_id_is_refused(fresh: TwilioCodec, stream_sid: object) -> None:
    with pytest.raises(CallRefused, match="stream id"):
        fresh.read_text(start(streamSid=stream_sid))


def test_a_second_start_is_malformed_and_changes_nothing(codec: TwilioCodec) -> None:
    with pytest.raises(WireError, match="twice"):
        codec.read_text(start(streamSid="MZ99"))
    assert codec.clear() == (b'{"event":"clear","streamSid":"MZ0a"}',)


def test_parameters_that_are_none_of_ours_become_metadata_and_odd_ones_are_dropped(fresh: TwilioCodec) -> None:
    started = fresh.read_text(start(customParameters={"from": 7, "direction": "outbound", "a": "b", "c": []}))
    assert isinstance(started, MediaStarted)
    facts = started.facts
    assert (facts.number, facts.called, facts.direction) == (None, None, Direction.OUTBOUND)
    assert dict(facts.metadata) == {"a": "b"}


@pytest.mark.parametrize("parameters", [None, [], "from"])
def test_a_start_without_parameters_has_no_numbers(fresh: TwilioCodec, parameters: object) -> None:
    started = fresh.read_text(start(customParameters=parameters))
    assert isinstance(started, MediaStarted)
    assert (started.facts.number, started.facts.called) == (None, None)


@given(st.binary(max_size=640))
def test_sound_comes_through_whole_written_in_the_usual_way_or_otherwise(payload: bytes) -> None:
    codec = TwilioCodec("AC01", "CA02")
    codec.read_text(start())
    encoded = pybase64.b64encode(payload).decode()
    usual = (MEDIA % encoded).encode()
    parsed = orjson.loads(usual)
    ways = [
        usual,
        orjson.dumps(parsed, option=orjson.OPT_INDENT_2),
        (MEDIA % encoded.replace("/", "\\/")).encode(),
        orjson.dumps(dict(reversed(parsed.items()))),
        orjson.dumps({"timestamp": 1, "eventType": "media", "streamSid": "MZ0a", "rawEvent": parsed}),
    ]
    assert [codec.read_text(way) for way in ways] == [Heard(payload)] * len(ways)


def test_only_the_callers_sound_is_heard(codec: TwilioCodec) -> None:
    assert codec.read_text(media(b"abc", track="outbound")) is None
    assert codec.read_text(message("media", media={"payload": "YWJj"})) == Heard(b"abc")


@pytest.mark.parametrize(
    "bad",
    [
        (MEDIA % "****").encode(),
        (MEDIA % "YWJ").encode(),
        (MEDIA % "YWJj\\n").encode(),
        (MEDIA % "YWJjé").encode(),
        message("media"),
        message("media", media=[]),
        message("media", media={"track": "inbound"}),
        message("media", media={"payload": 7}),
        message("media", media={"payload": "YWJj", "track": 7}),
        message("media", media={"payload": "YWJj"}, streamSid="MZ99"),
        message("dtmf"),
        message("dtmf", dtmf={"digit": "12"}),
        message("dtmf", dtmf={"digit": "x"}),
        message("dtmf", dtmf={"digit": 5}),
        message("dtmf", dtmf={"digit": "5"}, streamSid="MZ99"),
        message("mark", mark="name"),
        message("mark", mark={"name": "m" * 129}),
        message("mark", mark={"name": "0-1"}, streamSid=7),
        message("stop", streamSid="MZ99"),
        message("start"),
        b'{"event":7}',
        b"{}",
        b"[]",
        b"null",
        b"",
        b"nonsense",
        b'"\\ud800"',
        b'{"rawEvent":{}}',
        b"[" * 2_000,
    ],
)
def test_what_is_not_of_the_protocol_is_malformed_and_its_text_is_not_repeated(codec: TwilioCodec, bad: bytes) -> None:
    with pytest.raises(WireError) as raised:
        codec.read_text(bad)
    assert "YWJ" not in raised.value.message
    assert "MZ99" not in raised.value.message


def test_binary_messages_are_malformed(codec: TwilioCodec) -> None:
    with pytest.raises(WireError):
        codec.read_binary(b"\xff" * 160)


@pytest.mark.parametrize("digit", list("0123456789*#ABCD"))
def test_keys_are_read(codec: TwilioCodec, digit: str) -> None:
    wrapped = {"eventType": "dtmf", "rawEvent": {"event": "dtmf", "dtmf": {"digit": digit.lower(), "duration": 90}}}
    assert codec.read_text(message("dtmf", dtmf={"track": "inbound_track", "digit": digit})) == Pressed(digit)
    assert codec.read_text(orjson.dumps(wrapped)) == Pressed(digit)


def test_marks_and_the_stop_are_read(codec: TwilioCodec) -> None:
    assert codec.read_text(message("mark", mark={"name": "0-12"})) == Echoed("0-12")
    assert codec.read_text(message("stop", stop={"accountSid": "AC01", "callSid": "CA02"})) == Stopped()
    assert codec.read_text(b'{"event":"stop"}') == Stopped()


def test_a_wrapped_start_may_leave_the_stream_id_to_its_wrapper() -> None:
    codec = TwilioCodec("7d1c", "0f2e")
    inner = {"event": "start", "start": {"accountSid": "7d1c", "callSid": "0f2e", "mediaFormat": MULAW}}
    started = codec.read_text(orjson.dumps({"eventType": "start", "streamSid": "b1-c2", "rawEvent": inner}))
    assert isinstance(started, MediaStarted)
    assert codec.clear() == (b'{"event":"clear","streamSid":"b1-c2"}',)


def test_unknown_kinds_are_passed_over_and_counted(codec: TwilioCodec) -> None:
    assert codec.read_text(message("mood", mood="good")) is None
    assert codec.read_text(message("Media")) is None
    assert codec.passed_over == 2


def test_everything_that_is_sent_names_the_stream(codec: TwilioCodec) -> None:
    sound, (clear,), mark = codec.sound(b"\x00\xff" * 80), codec.clear(), codec.mark("0-1")
    assert orjson.loads(sound) == {
        "event": "media",
        "streamSid": "MZ0a",
        "media": {"payload": pybase64.b64encode(b"\x00\xff" * 80).decode()},
    }
    assert orjson.loads(clear) == {"event": "clear", "streamSid": "MZ0a"}
    assert orjson.loads(mark) == {"event": "mark", "streamSid": "MZ0a", "mark": {"name": "0-1"}}
    assert (codec.opening(), codec.heartbeat(), codec.goodbye("agent_hung_up")) == ((), (), ())


@given(st.text(min_size=1, max_size=128).filter(lambda text: text.encode("utf-8", "ignore").decode() == text))
def test_any_stream_id_stays_inside_its_quotes(stream_sid: str) -> None:
    codec = TwilioCodec("AC01", "CA02")
    codec.read_text(start(streamSid=stream_sid))
    for sent in (codec.sound(b"ab"), codec.mark("0-1"), *codec.clear()):
        assert orjson.loads(sent)["streamSid"] == stream_sid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["event", "streamSid", "media", "mark", "dtmf", "start", "stop", "rawEvent"])
KINDS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "other"])
INSIDE = st.sampled_from(["payload", "track", "digit", "name", "streamSid", "callSid", "mediaFormat", "encoding"])
NEARLY = st.fixed_dictionaries(
    {"event": KINDS | JSON},
    optional={
        "streamSid": st.sampled_from(["MZ0a"]) | JSON,
        "media": st.dictionaries(INSIDE, JSON, max_size=3) | JSON,
        "mark": st.dictionaries(INSIDE, JSON, max_size=2) | JSON,
        "dtmf": st.dictionaries(INSIDE, JSON, max_size=2) | JSON,
        "start": st.fixed_dictionaries({name: JSON | st.just(right) for name, right in START.items()}) | JSON,
        "rawEvent": st.dictionaries(FIELDS, JSON, max_size=3) | JSON,
    },
)


@given(st.lists(st.binary(max_size=80) | (JSON | NEARLY).map(orjson.dumps), max_size=12), st.booleans())
def test_whatever_comes_only_the_named_errors_come_out(messages: list[bytes], started: bool) -> None:
    codec = TwilioCodec("AC01", "CA02")
    if started:
        codec.read_text(start())
    for each in messages:
        for read in (codec.read_text, codec.read_binary):
            try:
                event = read(each)
            except (WireError, CallRefused):
                continue
            assert event is None or isinstance(event, MediaStarted | Heard | Pressed | Echoed | Stopped)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_damaged_media_message_is_never_read_otherwise_than_its_json_says(at: int, damage: bytes) -> None:
    codec = TwilioCodec("AC01", "CA02")
    codec.read_text(start())
    whole = (MEDIA % pybase64.b64encode(bytes(range(160))).decode()).encode()
    damaged = whole[:at] + damage + whole[at + len(damage) :]
    try:
        event = codec.read_text(damaged)
    except WireError:
        return
    match _parsed(damaged):
        case {"event": "media", "streamSid": "MZ0a", "media": {"track": "inbound", "payload": str(payload)}}:
            assert event == Heard(pybase64.b64decode(payload, validate=True))
        case dict():
            assert event is None or isinstance(event, Heard)


def _parsed(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
