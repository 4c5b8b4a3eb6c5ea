"""One lane by itself: what it carries, what it leaves, and when it says that enough waits."""

from __future__ import annotations

import base64

import orjson

from audio.formats import PCM16_24K
from audio.runs import FrameRun, SoundStream
from gateway.clock import NS_A_MS
from gateway.lane import CLOSED, MAX_FRAMES, MAX_WAIT_MS, Lane, SoundSource
from gateway.realtime.scan import PLAIN


class Way:
    """A lane, the clock it reads, and what came of it."""

    def __init__(self) -> None:
        self.now_ms = 1000
        self.sent: list[bytes] = []
        self.told: list[FrameRun | None] = []
        self.lane = Lane(lambda: self.now_ms * NS_A_MS, lambda: None, lambda: self.told.append(self.lane.take()))
        self.stream = SoundStream(PCM16_24K)

    def open(self) -> None:
        self.lane.open(SoundSource(PLAIN, self.stream), self.sent.append)


def append(payload: bytes) -> bytes:
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(payload).decode()})


def test_a_closed_lane_carries_nothing() -> None:
    way = Way()
    assert not way.lane.carry(append(bytes(960)))
    assert not CLOSED.carry(append(bytes(960)))
    assert (way.sent, way.lane.take()) == ([], None)


def test_sound_goes_on_as_it_came_and_waits_to_be_told() -> None:
    way = Way()
    way.open()
    first, second = append(b"\1\2" * 480), append(b"\3\4" * 240)
    assert way.lane.carry(first)
    way.now_ms += 20
    assert way.lane.carry(second)
    assert way.sent == [first, second]
    assert way.stream.samples == 720
    assert way.lane.take() == FrameRun([b"\1\2" * 480, b"\3\4" * 240], [1000, 1020], PCM16_24K, 0, 1440)
    assert way.lane.take() is None


def test_what_is_not_plainly_sound_is_left_and_not_counted() -> None:
    way = Way()
    way.open()
    for odd in (append(b"odd"), b'{"type":"input_audio_buffer.append","audio":"####"}', b"{}", b""):
        assert not way.lane.carry(odd)
    assert (way.sent, way.stream.samples, way.lane.take()) == ([], 0, None)


def test_many_frames_or_a_short_while_are_enough() -> None:
    way = Way()
    way.open()
    for _ in range(MAX_FRAMES):
        assert way.told == []
        way.lane.carry(append(bytes(960)))
    (run,) = way.told
    assert run is not None
    assert (len(run.payloads), run.start_sample) == (MAX_FRAMES, 0)
    way.lane.carry(append(bytes(960)))
    way.now_ms += MAX_WAIT_MS
    way.lane.carry(append(bytes(960)))
    assert [run.start_sample for run in way.told if run is not None] == [0, MAX_FRAMES * 480]


def test_a_retired_lane_forgets_who_opened_it() -> None:
    way = Way()
    way.open()
    way.lane.retire()
    assert way.lane.closed
    assert not way.lane.carry(append(bytes(960)))
