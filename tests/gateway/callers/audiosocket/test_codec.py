"""AudioSocket's frames: kinds, formats and what Asterisk sends under a wrong kind."""

from __future__ import annotations

import audioop
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCMA_8K, PCMU_8K, AudioFormat
from audio.playout import Framing
from gateway.callers.audiosocket.codec import (
    FORMATS,
    GOODBYE,
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    AudioSocketCodec,
    call_id_of,
    frame_bytes,
    silent_frame,
)
from gateway.callers.phone.codec import Heard, MediaStarted, Pressed, Stopped
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

FACTS = CallerFacts.of("+4930111", "222")
MULAW = bytes(range(0x20, 0xC0))
ID = UUID(int=5)


def frame(kind: int, payload: bytes = b"") -> bytes:
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


def codec(format: AudioFormat = PCM16_8K, narrow: AudioFormat | None = None) -> AudioSocketCodec:
    return AudioSocketCodec(FACTS, format, narrow=narrow)


def heard(codec: AudioSocketCodec, message: bytes) -> bytes:
    event = codec.read_binary(message)
    assert isinstance(event, Heard)
    return event.payload


def tone(rate_hz: int, frames: int) -> Sequence[bytes]:
    """A tone of 500 Hz as PCM, in frames of 20 ms."""
    samples = rate_hz // 50
    whole = b"".join(
        int(12_000 * ((place * 500 * 4 // rate_hz) % 4 in (0, 1)) - 6_000).to_bytes(2, "little", signed=True)
        for place in range(frames * samples)
    )
    return [whole[at : at + 2 * samples] for at in range(0, len(whole), 2 * samples)]


def test_the_first_frame_starts_a_call_with_one_frame_at_a_time() -> None:
    started = codec(PCM16_16K).read_binary(frame(1, ID.bytes))
    assert isinstance(started, MediaStarted)
    assert (started.rules.format, started.rules.ahead_ms, started.rules.framing) == (PCM16_16K, 0, Framing.ONE)
    assert (started.rules.mark_every_ms, started.facts) == (None, FACTS)
    assert call_id_of(frame(1, ID.bytes)) == ID.bytes
    assert call_id_of(frame(1, ID.bytes[1:])) is None
    assert call_id_of(frame(3, ID.bytes)) is None


@pytest.mark.parametrize(("kind", "format"), FORMATS.items())
def test_sound_of_each_kind_goes_untouched_both_ways(kind: int, format: AudioFormat) -> None:
    payload = bytes([7]) * (format.rate_hz // 50 * 2)
    talk = codec(format)
    assert heard(talk, frame(kind, payload)) == payload
    assert heard(talk, frame(kind, payload)) == payload
    assert talk.sound(payload) == frame(kind, payload)
    assert silent_frame(format) == frame(kind, bytes(len(payload)))


def test_160_bytes_under_the_kind_of_pcm_are_mu_law_and_are_answered_with_pcm() -> None:
    found: list[int] = []
    talk = AudioSocketCodec(FACTS, PCM16_8K, on_g711=lambda: found.append(1))
    for _ in range(3):
        assert heard(talk, frame(0x10, MULAW)) == audioop.ulaw2lin(MULAW, 2)
    assert talk.sound(bytes(320)) == frame(0x10, bytes(320))
    assert found == [1]


@pytest.mark.parametrize("before", [frame(0x10, bytes(320)), frame(0x12, bytes(640))])
def test_only_the_first_sound_of_a_call_tells_mu_law(before: bytes) -> None:
    talk = codec()
    heard(talk, before)
    assert heard(talk, frame(0x10, bytes(160))) == bytes(160)
    assert heard(talk, frame(0x10, bytes(160))) == bytes(160)


def test_what_the_dialplan_has_said_counts() -> None:
    assert heard(codec(narrow=PCM16_8K), frame(0x10, bytes(160))) == bytes(160)
    talk = codec(narrow=PCMA_8K)
    assert heard(talk, frame(0x10, MULAW)) == audioop.alaw2lin(MULAW, 2)
    assert talk.sound(bytes(320)) == frame(0x10, bytes(320))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != 0x10])
def test_a_wide_channel_whose_sound_comes_late_is_resampled(kind: int) -> None:
    wide = FORMATS[kind]
    talk = codec(PCM16_8K)
    inward = b"".join(heard(talk, frame(kind, payload)) for payload in tone(wide.rate_hz, 10))
    assert len(inward) == 10 * 320
    assert audioop.rms(inward[640:], 2) > 4_000
    assert talk.sound(bytes(320)) == frame(0x10, bytes(320))  # which the channel takes


def test_a_far_end_that_changes_is_heard_in_the_calls_format() -> None:
    talk = codec(PCM16_16K)
    wide, narrow = frame(0x12, bytes(640)), frame(0x10, bytes(320))
    for message in (wide, narrow, narrow, wide, wide, narrow):
        assert heard(talk, message) == bytes(640)
        assert talk.sound(bytes(640)) == wide


@pytest.mark.parametrize(("sent", "digit"), [(b"5", "5"), (b"*", "*"), (b"#", "#"), (b"a", "A"), (b"D", "D")])
def test_a_key_is_one_of_a_telephone(sent: bytes, digit: str) -> None:
    assert codec().read_binary(frame(3, sent)) == Pressed(digit)


@pytest.mark.parametrize("kind", [0x00, 0xFF])
def test_a_hang_up_and_an_error_end_the_call(kind: int) -> None:
    assert codec().read_binary(frame(kind)) == Stopped()
    assert codec().read_binary(frame(kind, b"\x01")) == Stopped()


@pytest.mark.parametrize(
    "message",
    [
        frame(3),
        frame(3, b"55"),
        frame(3, b"E"),
        frame(3, b"\xdf"),  # becomes two letters when it is made large
        frame(1, bytes(15)),
        frame(1, bytes(17)),
        frame(0x02, b"x"),
        frame(0x19, bytes(320)),
        frame(0x10),
        frame(0x12),
        frame(0x12, bytes(639)),
    ],
)
def test_a_malformed_frame_is_an_error_of_the_far_end(message: bytes) -> None:
    talk = codec(PCM16_8K)
    with pytest.raises(WireError):
        talk.read_binary(message)
    assert heard(talk, frame(0x10, bytes(320))) == bytes(320)


def test_there_is_no_text_and_nothing_to_clear_or_to_mark() -> None:
    talk = codec()
    with pytest.raises(WireError):
        talk.read_text(b"{}")
    with pytest.raises(NotImplementedError):
        talk.mark("1")
    assert (talk.opening(), talk.clear(), talk.heartbeat(), talk.heartbeat_ms) == ((), (), (), None)
    assert talk.goodbye("ended") == (GOODBYE,) == (b"\x00\x00\x00",)
    assert talk.sound_is_binary
    assert talk.all_binary


def test_the_header_says_the_length_of_a_frame_within_a_bound() -> None:
    assert frame_bytes(frame(0x10, bytes(320))) == 323
    assert frame_bytes(b"\x00\x00\x00more") == 3
    longest = MAX_FRAME_BYTES - HEAD_BYTES
    assert frame_bytes(bytes([0x10]) + longest.to_bytes(2, "big")) == MAX_FRAME_BYTES
    with pytest.raises(WireError):
        frame_bytes(bytes([0x10]) + (longest + 1).to_bytes(2, "big"))


kinds = st.sampled_from([0, 1, 2, 3, *FORMATS, 0x19, 0xFF]) | st.integers(0, 255)
sizes = st.sampled_from([0, 1, 2, 16, 160, 320, 640, 1764]) | st.integers(0, 2000)
formats = st.sampled_from(list(FORMATS.values()))
narrows = st.sampled_from([None, PCM16_8K, PCMU_8K, PCMA_8K])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(kinds, sizes, st.booleans()), max_size=30), formats, narrows)
def test_any_frames_are_read_or_refused_and_sound_leaves_in_whole_frames(
    frames: list[tuple[int, int, bool]], format: AudioFormat, narrow: AudioFormat | None
) -> None:
    talk = codec(format, narrow)
    ours = silent_frame(format)[HEAD_BYTES:]
    for kind, size, speaks in frames:
        message = frame(kind, bytes([kind]) * size)
        try:
            event = talk.read_binary(message)
        except WireError:
            event = None
        assert event is None or isinstance(event, Heard | MediaStarted | Pressed | Stopped)
        if speaks:
            assert talk.sound(ours) == silent_frame(format)
