"""The energy gate: when one side of a call was audible, told from one level per 5 ms instead of from the sound.

Latency is counted between two answers of this module, the last audible sample of the caller's turn and the first of the
agent's answer; each is right to within 5 ms of the frames' own times.
"""

from __future__ import annotations

import audioop
from enum import Enum, auto
from math import inf

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.level_history import GATE, WINDOW_MS, LevelHistory
from audio.runs import FrameRun

KEEP_MS = 120_000  # far more than a turn; 48 KB
MEASURE_MS = 1000  # sound waits so long to be measured, if nobody asks

_rms = audioop.rms


class FrameTime(Enum):
    """Which moment of a frame `at_ms` is."""

    END = auto()  # its last sample was spoken then: live sound, on arrival
    BEGIN = auto()  # its first sample begins to sound then: sound with a known start of playback


class LevelTrack:
    """Remembers how loud one side was when, and finds where it began and ceased to be audible.

    All times are on the clock of whoever feeds it. Frames may come with gaps and jitter. Live sound that arrives faster
    than it can have been spoken shows that earlier frames were late, and moves those back in time. Holds `KEEP_MS` at
    most, the oldest going first; `trim` lets go earlier.
    """

    __slots__ = (
        "_by_end",
        "_bytes_per_ms",
        "_carry",
        "_history",
        "_measure_bytes",
        "_next_ms",
        "_payload_bytes_per_ms",
        "_sample_bytes",
        "_to_pcm16",
        "_waiting",
        "_waiting_at_ms",
        "_waiting_bytes",
        "_window_bytes",
        "format",
    )

    def __init__(self, format: AudioFormat, frame_time: FrameTime) -> None:
        """Raises ValueError for a rate at which 5 ms is not a whole number of samples."""
        if format.rate_hz * WINDOW_MS % 1000:
            raise ValueError(f"{WINDOW_MS} ms of {format} is not a whole number of samples")
        self.format = format
        self._to_pcm16 = {Coding.PCMU: audioop.ulaw2lin, Coding.PCMA: audioop.alaw2lin}.get(format.coding)
        self._by_end = frame_time is FrameTime.END
        self._sample_bytes = format.sample_bytes
        self._payload_bytes_per_ms = format.rate_hz * format.sample_bytes / 1000
        self._bytes_per_ms = format.rate_hz * 2 / 1000  # as PCM16
        self._window_bytes = format.rate_hz * WINDOW_MS // 1000 * 2
        self._measure_bytes = format.bytes_for_ms(MEASURE_MS)
        self.clear()

    def clear(self) -> None:
        """Forget all levels."""
        self._waiting: list[bytes] = []  # payloads that are not measured yet, and the moments they came with
        self._waiting_at_ms: list[float] = []
        self._waiting_bytes = 0
        self._history = LevelHistory()
        self._carry = b""  # PCM16 of a window that is not full yet
        self._next_ms = -inf  # when the next frame begins, if it follows on

    def feed(self, frame: AudioFrame, at_ms: float) -> None:
        """Take one frame; `at_ms` is the moment of it that `FrameTime` says. Measured later, or when somebody asks.

        Raises ValueError for another format than the track's, and for half a sample of PCM.
        """
        if frame.format is not self.format and frame.format != self.format:
            raise ValueError(f"a {frame.format} frame came to a track of {self.format}")
        payload = frame.payload
        payload_bytes = len(payload)
        if payload_bytes % self._sample_bytes:
            raise ValueError(f"PCM16 takes 2 bytes a sample, and {payload_bytes} bytes are not whole samples")
        self._waiting.append(payload)
        self._waiting_at_ms.append(at_ms)
        self._waiting_bytes += payload_bytes
        if self._waiting_bytes >= self._measure_bytes:
            self._take_in()

    def feed_run(self, run: FrameRun) -> None:
        """Take frames that `at_ms` are the moments of, as `feed` takes one. Raises ValueError for another format."""
        if run.format is not self.format and run.format != self.format:
            raise ValueError(f"{run.format} frames came to a track of {self.format}")
        self._waiting += run.payloads
        self._waiting_at_ms += run.at_ms
        self._waiting_bytes += run.payload_bytes
        if self._waiting_bytes >= self._measure_bytes:
            self._take_in()

    @property
    def loud_now(self) -> bool:
        """Whether the newest sound is audible by the same gate."""
        self._take_in()
        return self._history.loud_now

    def first_audible_ms(self, since_ms: float | None = None, gate: int = GATE) -> int | None:
        """When the first audible sound at or after `since_ms` begins; None where all is below the gate."""
        self._take_in()
        return self._history.first_audible_ms(since_ms, gate)

    def last_audible_ms(self, until_ms: float | None = None, gate: int = GATE) -> int | None:
        """When the last audible sound at or before `until_ms` ends; None where all is below the gate."""
        self._take_in()
        return self._history.last_audible_ms(until_ms, gate)

    def trim(self, before_ms: float) -> None:
        """Let go of what ended by `before_ms`; what stands in line behind it stays, whatever its time."""
        self._take_in()
        self._history.trim(before_ms)

    def cut(self, from_ms: float) -> None:
        """Take back what was to sound from `from_ms` on and will not: playback was interrupted."""
        self._take_in()
        history = self._history
        keep = history.begun_by(from_ms)
        if keep < len(history.levels) or self._next_ms > from_ms:
            history.keep_oldest(keep)
            self._carry = b""
            self._next_ms = -inf

    def _take_in(self) -> None:
        """Give the frames that wait their place in time, and measure them."""
        if not self._waiting:
            return
        payloads, times_ms = self._waiting, self._waiting_at_ms
        self._waiting, self._waiting_at_ms, self._waiting_bytes = [], [], 0
        placed = begun = 0  # bytes as PCM16; frames
        for index, payload in enumerate(payloads):
            duration_ms = len(payload) / self._payload_bytes_per_ms
            begin_ms = times_ms[index] - duration_ms if self._by_end else times_ms[index]
            if not -1 < begin_ms - self._next_ms < 1:
                if self._by_end and begin_ms < self._next_ms:
                    self._history.move_back(self._next_ms - begin_ms)
                    self._next_ms = begin_ms
                else:
                    if not self._by_end:
                        self._measure(payloads[begun:index])
                        placed, begun = 0, index
                    self._anchor(begin_ms, placed)
            self._next_ms += duration_ms
            placed += len(payload) * 2 // self._sample_bytes
        self._measure(payloads[begun:])
        windows = len(self._history.levels)
        if windows * WINDOW_MS > KEEP_MS:
            self._history.drop_oldest(windows // 4)

    def _measure(self, payloads: list[bytes]) -> None:
        """One level for each whole window; what is left over is carried."""
        sound = b"".join(payloads)
        pcm16 = self._carry + (sound if self._to_pcm16 is None else self._to_pcm16(sound, 2))
        size = self._window_bytes
        whole = len(pcm16) - len(pcm16) % size
        # numpy would halve these 40 µs a second and call, and cost every start a tenth of a second.
        self._history.levels.extend([_rms(pcm16[at : at + size], 2) for at in range(0, whole, size)])
        self._carry = pcm16[whole:]

    def _anchor(self, begin_ms: float, unmeasured_bytes: int) -> None:
        """After a gap, or at a new start of playback: time runs on from `begin_ms`, behind so much PCM16 that waits."""
        levels = self._history.levels
        whole, carried_bytes = divmod(len(self._carry) + unmeasured_bytes, self._window_bytes)
        carried_ms = carried_bytes / self._bytes_per_ms
        if carried_ms and not self._by_end and abs(begin_ms - self._next_ms) >= WINDOW_MS:
            levels.append(_rms(self._carry, 2))
            self._carry = b""
            carried_ms = 0.0
        self._history.begin_stretch(len(levels) + whole, begin_ms - carried_ms)
        self._next_ms = begin_ms
