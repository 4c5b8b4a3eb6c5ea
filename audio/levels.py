"""The energy gate: finds when one side of a call was audible, from one level for each 5 ms of sound.

Latency is the time between two results of this module: the last audible sample of the caller's turn and the first
audible sample of the agent's answer. Each is accurate to 5 ms, relative to the times of the frames.
"""

from __future__ import annotations

import audioop
from enum import Enum, auto
from math import inf

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.level_history import GATE, WINDOW_MS, LevelHistory
from audio.runs import FrameRun

KEEP_MS = 120_000  # far more than a turn; takes 48 KB
MEASURE_MS = 1000  # sound is measured when this much has arrived, or earlier when a result is needed

_rms = audioop.rms


class FrameTime(Enum):
    """Which moment of a frame `at_ms` gives."""

    END = auto()  # when the last sample was spoken: for live sound, the time of arrival
    BEGIN = auto()  # when playback of the first sample begins: for sound with a known playback time


class LevelTrack:
    """Records how loud one side was and when, and finds where audible sound begins and ends.

    All times are on the caller's clock. Frames may come with gaps and jitter. Live sound that arrives faster than it
    can have been spoken shows that earlier frames were late; those are then moved back in time. Holds `KEEP_MS` at
    most and drops the oldest levels first; `trim` drops them earlier.
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
        """Raises ValueError if 5 ms is not a whole number of samples at the format's rate."""
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
        """Drop all levels."""
        self._waiting: list[bytes] = []  # payloads that are not measured yet
        self._waiting_at_ms: list[float] = []  # the `at_ms` of each
        self._waiting_bytes = 0
        self._history = LevelHistory()
        self._carry = b""  # PCM16 of a window that is not full yet
        self._next_ms = -inf  # when the next frame begins if there is no gap

    def feed(self, frame: AudioFrame, at_ms: float) -> None:
        """Take one frame; `FrameTime` says which moment of it `at_ms` is. It may be measured later.

        Raises ValueError if the format differs from the track's, or for half a sample of PCM.
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
            self._measure_waiting()

    def feed_run(self, run: FrameRun) -> None:
        """Take the frames of a run, each as `feed` takes one. Raises ValueError if the format differs."""
        if run.format is not self.format and run.format != self.format:
            raise ValueError(f"{run.format} frames came to a track of {self.format}")
        self._waiting += run.payloads
        self._waiting_at_ms += run.at_ms
        self._waiting_bytes += run.payload_bytes
        if self._waiting_bytes >= self._measure_bytes:
            self._measure_waiting()

    @property
    def loud_now(self) -> bool:
        """Whether the newest sound is audible by the same gate."""
        self._measure_waiting()
        return self._history.loud_now

    def first_audible_ms(self, since_ms: float | None = None, gate: int = GATE) -> int | None:
        """When the first audible sound at or after `since_ms` begins; None if everything is below the gate."""
        self._measure_waiting()
        return self._history.first_audible_ms(since_ms, gate)

    def last_audible_ms(self, until_ms: float | None = None, gate: int = GATE) -> int | None:
        """When the last audible sound at or before `until_ms` ends; None if everything is below the gate."""
        self._measure_waiting()
        return self._history.last_audible_ms(until_ms, gate)

    def trim(self, before_ms: float) -> None:
        """Drop levels that ended by `before_ms`, up to the first that did not; all after that one stay."""
        self._measure_waiting()
        self._history.trim(before_ms)

    def cut(self, from_ms: float) -> None:
        """Remove sound from `from_ms` on: it will not be played, because playback was interrupted."""
        self._measure_waiting()
        history = self._history
        keep = history.begun_by(from_ms)
        if keep < len(history.levels) or self._next_ms > from_ms:
            history.keep_oldest(keep)
            self._carry = b""
            self._next_ms = -inf

    def _measure_waiting(self) -> None:
        """Give each waiting frame its place in time, and measure it."""
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
        """Add one level for each whole window, and keep the remainder for the next call."""
        sound = b"".join(payloads)
        pcm16 = self._carry + (sound if self._to_pcm16 is None else self._to_pcm16(sound, 2))
        size = self._window_bytes
        whole = len(pcm16) - len(pcm16) % size
        # This takes 40 µs for each second of a call. numpy would halve that, but would add 0.1 s to every start.
        self._history.levels.extend([_rms(pcm16[at : at + size], 2) for at in range(0, whole, size)])
        self._carry = pcm16[whole:]

    def _anchor(self, begin_ms: float, unmeasured_bytes: int) -> None:
        """Start a stretch at `begin_ms`, after a gap or a new start of playback; `unmeasured_bytes` come before it."""
        levels = self._history.levels
        whole, carried_bytes = divmod(len(self._carry) + unmeasured_bytes, self._window_bytes)
        carried_ms = carried_bytes / self._bytes_per_ms
        if carried_ms and not self._by_end and abs(begin_ms - self._next_ms) >= WINDOW_MS:
            levels.append(_rms(self._carry, 2))
            self._carry = b""
            carried_ms = 0.0
        self._history.begin_stretch(len(levels) + whole, begin_ms - carried_ms)
        self._next_ms = begin_ms
