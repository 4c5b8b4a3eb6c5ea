"""One end of a fast path by itself: what it carries, what it leaves to the leg, and when enough sound waits."""

from __future__ import annotations

import base64

import orjson

from audio.formats import PCM16_24K
from audio.runs import FrameRun, SoundStream
from gateway.clock import NS_A_MS
from gateway.legs.fast_path_end import MAX_FRAMES, MAX_WAIT_MS, FastPathEnd, SoundSource, fast_path_of
from gateway.realtime.scan import PLAIN


class Way:
    """An end, the clock it reads, and what came of it."""

    def __init__(self) -> None:
        self.now_ms = 1000
        self.sent: list[bytes] = []
        self.told: list[FrameRun | None] = []
        self.fast_path = FastPathEnd()
        self.fast_path.attach(
            lambda: self.now_ms * NS_A_MS, lambda: None, lambda: self.told.append(self.fast_path.take())
        )
        self.stream = SoundStream(PCM16_24K)

    def open(self) -> None:
        self.fast_path.open(SoundSource(PLAIN, self.stream), self.sent.append)


def append(payload: bytes) -> bytes:
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(payload).decode()})


def test_a_closed_end_carries_nothing_and_keeps_what_waits() -> None:
    way = Way()
    assert not FastPathEnd().carry(append(bytes(960)))
    assert not way.fast_path.carry(append(bytes(960)))
    assert (way.sent, way.fast_path.take()) == ([], None)
    way.open()
    way.fast_path.carry(append(bytes(960)))
    way.fast_path.close()
    assert not way.fast_path.carry(append(bytes(960)))
    run = way.fast_path.take()
    assert run is not None
    assert run.samples == 480


def test_a_leg_offers_a_fast_path_or_none() -> None:
    way = Way()
    assert fast_path_of(way) is way.fast_path
    for leg in (None, 7, object()):
        assert fast_path_of(leg) is None


def test_sound_goes_on_as_it_came_and_waits_to_be_noted() -> None:
    way = Way()
    way.open()
    first, second = append(b"\1\2" * 480), append(b"\3\4" * 240)
    assert way.fast_path.carry(first)
    way.now_ms += 20
    assert way.fast_path.carry(second)
    assert way.sent == [first, second]
    assert way.stream.samples == 720
    assert way.fast_path.take() == FrameRun([b"\1\2" * 480, b"\3\4" * 240], [1000, 1020], PCM16_24K, 0, 1440)
    assert way.fast_path.take() is None


def test_what_is_not_surely_sound_is_left_to_the_leg_and_not_counted() -> None:
    way = Way()
    way.open()
    for odd in (append(b"odd"), b'{"type":"input_audio_buffer.append","audio":"####"}', b"{}", b""):
        assert not way.fast_path.carry(odd)
    assert (way.sent, way.stream.samples, way.fast_path.take()) == ([], 0, None)


def test_enough_sound_waits_after_some_frames_or_a_short_while() -> None:
    way = Way()
    way.open()
    for _ in range(MAX_FRAMES):
        assert way.told == []
        way.fast_path.carry(append(bytes(960)))
    (run,) = way.told
    assert run is not None
    assert (len(run.payloads), run.start_sample) == (MAX_FRAMES, 0)
    way.fast_path.carry(append(bytes(960)))
    way.now_ms += MAX_WAIT_MS
    way.fast_path.carry(append(bytes(960)))
    assert [run.start_sample for run in way.told if run is not None] == [0, MAX_FRAMES * 480]


def test_a_detached_end_carries_nothing_and_calls_nobody() -> None:
    way = Way()
    way.open()
    way.fast_path.detach()
    way.fast_path.flush()
    assert way.fast_path.closed
    assert not way.fast_path.carry(append(bytes(960)))
