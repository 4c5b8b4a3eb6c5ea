"""When sound may leave for a far end: one frame at a time, or a limited stretch ahead of what is being played."""

from __future__ import annotations

from math import inf
from typing import Protocol

# With exact pacing, a tick that comes up to this many frames late is caught up with. A longer stall is not.
LATE_FRAMES = 3
# A far end's own count may differ from the clock by so much: the count is taken on the way, and in whole frames.
COUNT_SLACK_MS = 100
# A count changes the estimate by at most this, because a far end may count wrong.
MAX_COUNTED_MS = 2_000


class Pace(Protocol):
    """Says how much sound may leave now, and when that sound begins to be played. All times are in milliseconds."""

    def room_ms(self, now_ms: int) -> float:
        """How much may leave now; 0 for nothing."""
        ...

    def fits(self, sound_ms: float, now_ms: int) -> bool:
        """Whether so much may leave now, in front of a far end that holds sound. Changes nothing."""
        ...

    def next_ms(self, now_ms: int) -> float:
        """When sound that leaves next begins to be played, at the earliest."""
        ...

    def sent(self, sound_ms: float, now_ms: int) -> float:
        """Count sound as sent, at most what `room_ms` has just allowed. Returns when it begins to be played."""
        ...

    def wake_ms(self, sound_waits: bool) -> float | None:
        """When something may leave next; None: not before there is more sound."""
        ...

    def holds(self, held_ms: int, now_ms: int) -> None:
        """The far end has counted the sound that it holds."""
        ...

    def clear(self) -> None:
        """The far end was told to drop what it holds."""
        ...


class ExactPace:
    """One frame in each frame's time, for far ends that hold no sound: they play what they get, when they get it.

    Frames have times on a grid that never moves. A frame that leaves up to `LATE_FRAMES` late is caught up with: what
    was missed leaves too, and the telephone's jitter buffer covers the delay. After a longer stall, and where only
    silence was missed, the grid's missed times are skipped.
    """

    __slots__ = ("_due_ms", "_early_ms", "_frame_ms", "_speaks")

    def __init__(self, frame_ms: int) -> None:
        self._frame_ms = frame_ms
        self._early_ms = frame_ms / 2  # a tick may come so much before the grid's time
        self._due_ms: float | None = None  # when the next frame is due
        self._speaks = False  # whether the last frame had sound

    def room_ms(self, now_ms: int) -> float:
        """The frame that is due and those that were missed; 0 before the time."""
        late_ms = 0 if self._due_ms is None else now_ms - self._due_ms
        if late_ms < self._frame_ms:  # as nearly always
            return self._frame_ms if late_ms >= -self._early_ms else 0
        return self._frame_ms + (now_ms - self.next_ms(now_ms)) // self._frame_ms * self._frame_ms

    def fits(self, sound_ms: float, now_ms: int) -> bool:
        """Never: sound waits for its time on the grid."""
        return False

    def next_ms(self, now_ms: int) -> float:
        """The time on the grid of the next frame."""
        due_ms = self._due_ms
        if due_ms is None:
            return now_ms
        late_ms = now_ms - due_ms
        if late_ms < self._frame_ms:
            return due_ms
        missed = late_ms // self._frame_ms
        if missed > (LATE_FRAMES if self._speaks else 0):
            return due_ms + missed * self._frame_ms
        return due_ms

    def sent(self, sound_ms: float, now_ms: int) -> float:
        """Count the frames that were due, with sound in so much of them, as sent."""
        begin_ms = self.next_ms(now_ms)
        self._due_ms = begin_ms + self.room_ms(now_ms)
        self._speaks = sound_ms > 0
        return begin_ms

    def wake_ms(self, sound_waits: bool) -> float | None:
        """When the next frame is due, of sound or of silence."""
        return self._due_ms

    def holds(self, held_ms: int, now_ms: int) -> None:
        """It holds nothing that the grid could wait for."""

    def clear(self) -> None:
        """There is nothing to drop at the far end; silence goes on."""
        self._speaks = False


class AheadPace:
    """At most `ahead_ms` of sound in front of the ear, for far ends that hold sound: refilled when half is gone."""

    __slots__ = ("_ahead_ms", "_early_ms", "_filling", "_step_ms", "_until_ms")

    def __init__(self, frame_ms: int, ahead_ms: int, step_ms: int | None) -> None:
        """`step_ms` is how much may leave in one step, so that a mark can follow it; None for no limit."""
        self._ahead_ms = ahead_ms
        self._early_ms = frame_ms / 2
        self._step_ms = inf if step_ms is None else step_ms
        self._until_ms: float | None = None  # when everything that has left will have been played
        self._filling = False  # whether one step has left and the next may follow it at once

    def room_ms(self, now_ms: int) -> float:
        """How much may leave now; 0 while more than half of it is still to be played."""
        ahead_ms = self.next_ms(now_ms) - now_ms
        if not self._takes(ahead_ms):
            return 0
        self._filling = False
        return min(max(0, self._ahead_ms - ahead_ms), self._step_ms)

    def fits(self, sound_ms: float, now_ms: int) -> bool:
        """Whether `room_ms` would allow so much."""
        ahead_ms = self.next_ms(now_ms) - now_ms
        return self._takes(ahead_ms) and sound_ms <= self._step_ms and ahead_ms + sound_ms <= self._ahead_ms

    def _takes(self, ahead_ms: float) -> bool:
        """Whether it is refilled now, with so much still to be played."""
        return self._filling or ahead_ms <= self._ahead_ms / 2 + self._early_ms

    def next_ms(self, now_ms: int) -> float:
        """The end of what has left, or now if the far end has run dry."""
        return now_ms if self._until_ms is None or self._until_ms < now_ms else self._until_ms

    def sent(self, sound_ms: float, now_ms: int) -> float:
        """Count sound as sent."""
        begin_ms = self.next_ms(now_ms)
        if sound_ms:
            self._until_ms = begin_ms + sound_ms
            self._filling = sound_ms >= self._step_ms
        return begin_ms

    def wake_ms(self, sound_waits: bool) -> float | None:
        """When half will be gone, if there is something to refill it with."""
        if not sound_waits or self._until_ms is None:
            return None
        return self._until_ms - self._ahead_ms / 2

    def holds(self, held_ms: int, now_ms: int) -> None:
        """Wait for sound that the far end has not played in time: else the delay would stay until a pause."""
        late_ms = held_ms - (self.next_ms(now_ms) - now_ms)
        if late_ms > COUNT_SLACK_MS:
            self._until_ms = self.next_ms(now_ms) + min(late_ms, MAX_COUNTED_MS)
            self._filling = False

    def clear(self) -> None:
        """The far end holds nothing now: the next sound is played at once."""
        self._until_ms = None
        self._filling = False
