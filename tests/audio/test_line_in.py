"""The line in of a telephone call: what goes on, where silence is filled in, and how positions follow the clock."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import encode, silence
from audio.line_in import (
    FILL_EVERY_MS,
    HOLE_MS,
    LATE_TIMER_MS,
    LEFT_OUT_MS,
    MAX_AHEAD_MS,
    MAX_BEHIND_MS,
    MAX_FILL_MS,
    MAX_HOLE_MS,
    SLACK_MS,
    LineCounts,
    LineIn,
)

BEGUN_MS = 5_000
FORMATS = [PCMU_8K, PCMA_8K, PCM16_8K, PCM16_16K]


def sound(ms: int, format: AudioFormat = PCMU_8K, peak: int = 8_000) -> bytes:
    samples = format.rate_hz * ms // 1000
    at = (round(peak * math.sin(2 * math.pi * 440 * n / format.rate_hz)) for n in range(samples))
    pcm16 = struct.pack(f"<{samples}h", *at)
    return pcm16 if format.coding is Coding.PCM16 else encode(pcm16, format.coding)


LOUD = {format: sound(20, format) for format in FORMATS}


@dataclass
class Line:
    """A line with its clock; its timer fires `late_ms` after its time."""

    format: AudioFormat = PCMU_8K
    late_ms: int = 0
    now_ms: int = BEGUN_MS
    heard: list[AudioFrame] = field(default_factory=list)  # what goes on, in order
    filled: list[tuple[int, AudioFrame]] = field(default_factory=list)  # silence, and when it was filled in
    brought_ms: list[int] = field(default_factory=list)  # when sound came

    frame_ms: int = 20

    def __post_init__(self) -> None:
        self.line = LineIn(self.format, BEGUN_MS, frame_ms=self.frame_ms)

    def wait(self, ms: int) -> None:
        """Let time pass, and the timer fire."""
        until_ms = self.now_ms + ms
        while self.line.deadline_ms + self.late_ms <= until_ms:
            self.now_ms = max(self.now_ms, self.line.deadline_ms + self.late_ms)
            frame = self.line.on_time(self.now_ms)
            if frame is not None:
                self.heard.append(frame)
                self.filled.append((self.now_ms, frame))
        self.now_ms = until_ms

    def comes(self, payload: bytes | None = None) -> AudioFrame | None:
        """Sound arrives: 20 ms that are loud, or this payload."""
        frame = self.line.sound(LOUD[self.format] if payload is None else payload, self.now_ms)
        if payload != b"":
            self.brought_ms.append(self.now_ms)
        if frame is not None:
            self.heard.append(frame)
        return frame

    def flows(self, ms: int, payload: bytes | None = None) -> None:
        """Sound arrives every 20 ms."""
        for _ in range(ms // 20):
            self.wait(20)
            self.comes(payload)

    @property
    def error_ms(self) -> float:
        """How far the positions are ahead of the clock."""
        last = self.heard[-1] if self.heard else None
        end = 0 if last is None else last.start_sample + last.samples
        return end * 1000 / self.format.rate_hz - (self.now_ms - BEGUN_MS)

    @property
    def filled_ms(self) -> int:
        return sum(frame.duration_ms for _, frame in self.filled)


# ---- what goes on


@pytest.mark.parametrize("format", FORMATS)
def test_sound_in_time_goes_on_as_it_came(format: AudioFormat) -> None:
    line = Line(format)
    line.flows(1_000)
    samples = format.rate_hz // 50
    assert line.heard == [AudioFrame(LOUD[format], format, n * samples) for n in range(50)]
    assert line.line.counts == LineCounts()


def test_bunched_frames_go_on_at_once() -> None:
    line = Line()
    line.flows(40)
    line.wait(59)
    assert [line.comes() is not None for _ in range(3)] == [True] * 3
    assert [frame.start_sample for frame in line.heard] == [0, 160, 320, 480, 640]
    assert line.line.counts == LineCounts()


def test_half_a_sample_is_refused_and_nothing_is_nothing() -> None:
    line = Line(PCM16_8K)
    with pytest.raises(ValueError, match="3 bytes are not whole samples"):
        line.comes(b"abc")
    line.wait(59)
    assert line.comes(b"") is None
    assert line.line.deadline_ms == BEGUN_MS + HOLE_MS  # an empty frame is no sign of life


# ---- holes


@pytest.mark.parametrize("format", FORMATS)
def test_a_key_leaves_a_hole_that_is_filled_to_the_present(format: AudioFormat) -> None:
    line = Line(format)
    line.flows(400)
    line.wait(180)
    line.flows(200)
    # The last one is at 600 ms, in the moment in which the next frame comes: its time is left free.
    assert [at_ms - BEGUN_MS for at_ms, _ in line.filled] == [460, 480, 500, 520, 540, 560, 580, 600]
    first = line.filled[0][1]
    assert first == AudioFrame(silence(format, format.rate_hz * 40 // 1000), format, format.rate_hz * 400 // 1000)
    assert line.error_ms == 0
    ends = [frame.start_sample + frame.samples for frame in line.heard]
    assert [frame.start_sample for frame in line.heard[1:]] == ends[:-1]
    assert line.line.counts == LineCounts(filled_ms=180)


def test_a_caller_who_sends_nothing_is_silent_from_the_start_on() -> None:
    line = Line()
    line.wait(59)
    assert not line.heard
    line.wait(1)
    assert line.heard == [AudioFrame(silence(PCMU_8K, 320), PCMU_8K, 0)]
    line.wait(3_600_000)
    assert (line.error_ms, line.filled_ms) == (-20, 3_600_040)
    assert len(line.filled) == 1 + 3_600_000 // FILL_EVERY_MS


@pytest.mark.parametrize("known", [True, False])
def test_long_frames_are_awaited(known: bool) -> None:
    line = Line(frame_ms=200 if known else 20)
    for _ in range(20):
        line.wait(200)
        line.comes(sound(200))
    before_ms = line.filled_ms
    assert before_ms == (0 if known else 180)  # before the first frame
    if not known:
        line.flows(20_000, silence(PCMU_8K, 160))  # the positions return
        before_ms = line.filled_ms
        line.wait(200)
        line.comes(sound(200))
    line.wait(239)
    assert line.filled_ms == before_ms
    line.wait(161)
    line.comes(sound(200))
    assert line.filled_ms > before_ms
    assert 0 <= line.error_ms <= SLACK_MS


def test_a_late_timer_lets_the_sound_in_the_socket_come_first() -> None:
    line = Line()
    line.flows(100)
    line.now_ms += 300  # the process was busy, and its timers are served before its sockets
    assert line.line.on_time(line.now_ms) is None
    for _ in range(15):
        line.comes()
    assert line.line.counts.filled_ms == 0
    line.now_ms += 2_000
    assert line.line.on_time(line.now_ms) is None
    assert line.line.on_time(line.now_ms + FILL_EVERY_MS - 1) is None
    frame = line.line.on_time(line.now_ms + FILL_EVERY_MS + LATE_TIMER_MS + 1)  # one pardon is enough
    assert frame is not None
    assert frame.duration_ms == MAX_FILL_MS  # the model needs no more to notice, and the positions are right
    line.now_ms += FILL_EVERY_MS + LATE_TIMER_MS + 1
    assert frame.start_sample + frame.samples == (line.now_ms - 20 - BEGUN_MS) * 8
    line.now_ms += FILL_EVERY_MS
    next_frame = line.line.on_time(line.now_ms)
    assert next_frame == AudioFrame(silence(PCMU_8K, 160), PCMU_8K, frame.start_sample + frame.samples)
    line.comes()
    assert line.error_ms == 0


def test_lost_sound_moves_the_positions_on_without_silence() -> None:
    line = Line()
    for n in range(500):  # every tenth frame is lost: holes of 40 ms
        line.wait(20)
        if n % 10 != 9:
            line.comes()
        assert -MAX_BEHIND_MS - 40 <= line.error_ms <= SLACK_MS
    assert not line.filled
    assert len(line.heard) == 450


# ---- sound that was only delayed


def stalled(stall_ms: int, before_ms: int = 400) -> Line:
    line = Line()
    line.flows(before_ms)
    line.wait(stall_ms)
    for _ in range(stall_ms // 20):
        line.comes()
    return line


def test_sound_that_comes_after_its_silence_is_kept_and_the_positions_return() -> None:
    line = stalled(500)
    counts = line.line.counts
    assert counts == LineCounts(late_ms=460, filled_ms=480, clipped_ms=0)  # the last of it came in time
    assert line.error_ms == 480
    line.flows(1_000, silence(PCMU_8K, 160))
    assert 280 <= line.error_ms <= 300  # 20 ms of each 100 ms of a pause, so that its end is hardly noticed later
    line.flows(2_000, silence(PCMU_8K, 160))
    assert SLACK_MS - LEFT_OUT_MS <= line.error_ms <= SLACK_MS
    assert line.line.counts.clipped_ms == 480 - line.error_ms
    line.flows(10_000, silence(PCMU_8K, 160))
    assert SLACK_MS - LEFT_OUT_MS <= line.error_ms <= SLACK_MS


def test_the_noise_of_a_line_is_a_pause() -> None:
    line = stalled(500)
    line.flows(1_000, sound(20, peak=200))  # 44 dB below full scale
    assert 280 <= line.error_ms <= 300
    line.flows(900, sound(20, peak=400))
    assert 280 <= line.error_ms <= 300


def test_without_a_pause_a_second_passes_between_what_is_left_out() -> None:
    line = stalled(200)
    line.flows(980)
    assert line.line.counts.clipped_ms == 0
    line.flows(3_000)
    assert line.line.counts.clipped_ms == 60
    line.flows(20_000)
    assert SLACK_MS - LEFT_OUT_MS <= line.error_ms <= SLACK_MS


def test_a_later_hole_takes_the_positions_back_without_a_loss() -> None:
    line = stalled(300)
    assert line.error_ms == 280
    line.wait(500)
    assert line.error_ms == -20
    assert line.filled_ms == 280 + 200
    assert line.line.counts.clipped_ms == 0


def test_what_is_more_than_a_second_ahead_is_dropped_and_counted() -> None:
    line = stalled(3_000)
    assert line.error_ms == MAX_AHEAD_MS
    assert line.line.counts.clipped_ms == 1_980
    line.comes(sound(60))
    assert line.line.counts.clipped_ms == 2_040
    line.wait(100)
    frame = line.comes(sound(140))
    assert frame is not None
    assert frame.payload == sound(140)[40 * 8 :]  # the newest of it is kept


def test_a_far_end_that_always_bunches_gets_no_silence_inside_its_speech() -> None:
    line = Line()
    for _ in range(100):
        line.wait(100)
        for _ in range(5):
            line.comes()
    assert line.filled_ms <= 200  # until the first bunches had shown how it is
    assert line.line.counts.clipped_ms <= 200
    before_ms = line.filled_ms
    line.wait(1_000)
    assert line.filled_ms - before_ms >= 900 - MAX_AHEAD_MS // 4  # and a real hole is still found


def test_the_wait_for_a_hole_stays_short_enough() -> None:
    line = stalled(900)
    line.flows(60_000)
    before_ms = line.filled_ms
    line.wait(MAX_HOLE_MS - 1)
    assert line.filled_ms == before_ms
    line.wait(1)
    assert line.filled_ms > before_ms


# ---- any order of arrival

ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 5, 19, 20, 20, 20, 21, 40, 59, 60, 61, 100, 180, 400, 2_500]) | st.integers(0, 300),
        st.integers(0, 4) | st.integers(0, 80),
        st.booleans(),
    ),
    max_size=60,
)


def played(format: AudioFormat, late_ms: int, arrivals: list[tuple[int, int, bool]]) -> tuple[Line, int]:
    """A line after these arrivals: each a wait, a number of frames, and whether they are loud. And its sound in ms."""
    line, brought_ms = Line(format, late_ms), 0
    quiet = silence(format, format.rate_hz // 50)
    for wait_ms, frames, loud in arrivals:
        line.wait(wait_ms)
        for _ in range(frames):
            line.comes(None if loud else quiet)
            brought_ms += 20
            check_position(line)
        check_position(line)
    return line, brought_ms


def check_position(line: Line) -> None:
    # Between two looks at the clock, it runs on by the wait for a hole, the lateness of the timer, and one pardon.
    behind_ms = MAX_BEHIND_MS + MAX_HOLE_MS + 2 * (line.late_ms + FILL_EVERY_MS)
    assert -behind_ms <= line.error_ms <= MAX_AHEAD_MS


@given(st.sampled_from(FORMATS), st.integers(0, 100), ARRIVALS)
def test_any_order_of_arrival(format: AudioFormat, late_ms: int, arrivals: list[tuple[int, int, bool]]) -> None:
    line, brought_ms = played(format, late_ms, arrivals)
    counts = line.line.counts
    # Positions never go back, and nothing is lost except what is counted.
    ends = [frame.start_sample + frame.samples for frame in line.heard]
    assert all(frame.start_sample >= end for frame, end in zip(line.heard[1:], ends, strict=False))
    silent = {id(frame) for _, frame in line.filled}
    kept = sum(frame.samples for frame in line.heard if id(frame) not in silent)
    assert kept == (brought_ms - counts.clipped_ms) * format.rate_hz // 1000
    assert counts.filled_ms == line.filled_ms
    assert 0 <= counts.late_ms <= brought_ms
    # Silence stands only where nothing had come for more than the shortest hole, and ends in the present.
    for at_ms, frame in line.filled:
        assert not any(at_ms - HOLE_MS < came_ms < at_ms for came_ms in line.brought_ms)
        assert frame.start_sample + frame.samples == (at_ms - 20 - BEGUN_MS) * format.rate_hz // 1000
        assert frame.payload == silence(format, frame.samples)
    # Regular sound brings the positions back to the clock, with pauses in it or without.
    line.flows(60_000)
    assert -MAX_BEHIND_MS <= line.error_ms <= SLACK_MS


@given(st.integers(0, 100), ARRIVALS)
def test_silence_always_comes_in_the_end(late_ms: int, arrivals: list[tuple[int, int, bool]]) -> None:
    line, _ = played(PCMU_8K, late_ms, arrivals)
    line.wait(MAX_AHEAD_MS + MAX_HOLE_MS + 2 * late_ms + 2 * FILL_EVERY_MS)
    before_ms = line.filled_ms
    line.wait(1_000)
    assert line.filled_ms >= before_ms + 1_000 - 2 * (late_ms + FILL_EVERY_MS)
