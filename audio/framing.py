"""Cutting sound into exact frames, and letting frames out at the pace at which they are heard."""

from __future__ import annotations

from audio.formats import AudioFormat, AudioFrame
from audio.g711 import silence

LATE_FRAMES = 3  # a timer that fires up to so many frames late is caught up with; a longer stall is not


class Framer:
    """Cuts runs of any length into frames of exactly `frame_ms`, and carries the remainder to the next run."""

    def __init__(self, format: AudioFormat, frame_ms: int) -> None:
        """Raises ValueError where `frame_ms` is not a whole number of samples above 0."""
        samples, rest = divmod(format.rate_hz * frame_ms, 1000)
        if samples <= 0 or rest:
            raise ValueError(f"{frame_ms} ms of {format} is not a whole number of samples")
        self.format = format
        self._frame_samples = samples
        self._frame_bytes = samples * format.sample_bytes
        self._carry = b""
        self._next_sample = 0

    def feed(self, payload: bytes) -> list[AudioFrame]:
        """The frames that are complete now, numbered on from the last; half a sample simply waits for its rest."""
        size = self._frame_bytes
        if self._carry:
            payload = self._carry + payload
        whole = len(payload) - len(payload) % size
        self._carry = payload[whole:]
        return [self._frame(payload[at : at + size]) for at in range(0, whole, size)]

    def flush(self) -> AudioFrame | None:
        """The remainder, filled up to a frame with silence; None without one. Half a sample is dropped."""
        sample_bytes = self.format.sample_bytes
        samples = len(self._carry) // sample_bytes
        rest = self._carry[: samples * sample_bytes]
        self._carry = b""
        if not samples:
            return None
        return self._frame(rest + silence(self.format, self._frame_samples - samples))

    def discard(self) -> None:
        """Forget the remainder, as when speech was interrupted; numbering goes on."""
        self._carry = b""

    def _frame(self, payload: bytes) -> AudioFrame:
        frame = AudioFrame(payload, self.format, self._next_sample)
        self._next_sample += self._frame_samples
        return frame


class Pacer:
    """Says how many frames may go out now, so that sending is never more than `ahead_ms` in front of hearing.

    An `ahead_ms` up to one frame is exact pacing, for far ends that do not buffer: a late timer is caught up with, so
    that the rate holds. A longer one fills the far end's buffer, and begins anew where that ran dry.
    """

    def __init__(self, frame_ms: int, ahead_ms: int) -> None:
        """Raises ValueError for `frame_ms` below 1 or `ahead_ms` below 0."""
        if frame_ms < 1 or ahead_ms < 0:
            raise ValueError(f"cannot pace frames of {frame_ms} ms, {ahead_ms} ms ahead")
        self._frame_ms = frame_ms
        self._ahead_ms = max(ahead_ms, frame_ms)
        self._late_ms = LATE_FRAMES * frame_ms if ahead_ms <= frame_ms else 0
        self._heard_until_ms: int | None = None  # when all that was sent will have sounded; None: nothing was sent
        self._ran_dry = True

    def take(self, now_ms: int, waiting_frames: int) -> int:
        """How many of the waiting frames go out now; they count as sent."""
        heard_until_ms = self._heard_until_ms
        allowed_late_ms = 0 if self._ran_dry else self._late_ms
        if heard_until_ms is None or now_ms - heard_until_ms > allowed_late_ms:
            heard_until_ms = now_ms
        room = max(0, (now_ms + self._ahead_ms - heard_until_ms) // self._frame_ms)
        frames = min(room, waiting_frames)
        if frames or self._heard_until_ms is not None:
            self._heard_until_ms = heard_until_ms + frames * self._frame_ms
        self._ran_dry = frames == waiting_frames
        return frames

    def ahead_ms(self, now_ms: int) -> int:
        """How much of what was sent has not sounded yet."""
        return 0 if self._heard_until_ms is None else max(0, self._heard_until_ms - now_ms)

    def next_ms(self) -> int | None:
        """When there is room for one more frame; None, or a time that has passed, means now."""
        return None if self._heard_until_ms is None else self._heard_until_ms + self._frame_ms - self._ahead_ms

    def clear(self) -> None:
        """The far end dropped what it had buffered: the next frame sounds at once."""
        self._heard_until_ms = None
        self._ran_dry = True
