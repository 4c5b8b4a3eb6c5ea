"""Sound that comes faster than it is spoken: how much of it is heard as it comes, and when the rest is.

To hear costs up to a twentieth of the time that the sound lasts, on the loop that all calls share: a file of a minute,
sent in one message, would silence them for seconds. So it is heard in slices, and no two slices, of whatever calls,
come closer together than a slot.
"""

from __future__ import annotations

from audio.formats import AudioFormat

FRAME_MS = 20  # in steps of this length sound is heard, however it came
SLICE_MS = 40  # of sound: one or two ms of work
SLOT_MS = 5
AT_ONCE_MS = 120  # of sound that is heard as it comes,
WINDOW_MS = 20  # in each stretch of this length: callers and their networks are seldom that far ahead of time


class Roster:
    """Gives out the slots in which calls work off what waits; one for all calls that share a loop."""

    def __init__(self) -> None:
        self._free_ms = 0
        self._began_ms: int | None = None  # the last slice

    def book(self, now_ms: int) -> int:
        """When the next slice may be worked on."""
        at_ms = max(now_ms, self._free_ms)
        self._free_ms = at_ms + SLOT_MS
        return at_ms

    def begin(self, now_ms: int) -> bool:
        """Begin the slice whose time has come, unless another was late and has just had this one's time.

        Slots that are past all ring at once: without this one slice would follow the other, and nothing come between.
        """
        if self._began_ms is not None and self._began_ms <= now_ms < self._began_ms + SLOT_MS:
            return False
        self._began_ms = now_ms
        self._free_ms = max(self._free_ms, now_ms + SLOT_MS)
        return True


class Pace:
    """Tells sound that comes about as fast as it is spoken from sound that does not."""

    def __init__(self, format: AudioFormat) -> None:
        self._room_bytes = format.bytes_for_ms(AT_ONCE_MS)
        self._since_ms: int | None = None
        self._taken_bytes = 0

    def allows(self, payload_bytes: int, now_ms: int) -> bool:
        """Whether so much more sound can be heard now."""
        if self._since_ms is None or now_ms - self._since_ms >= WINDOW_MS:
            self._since_ms = now_ms
            self._taken_bytes = 0
        self._taken_bytes += payload_bytes
        return self._taken_bytes <= self._room_bytes
