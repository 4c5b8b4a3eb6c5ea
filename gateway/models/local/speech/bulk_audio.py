"""Paces sound that arrives faster than real time: how much is processed at once, and when the rest is.

Processing sound takes up to a twentieth of its duration, on the loop that all calls share: a file of one minute, sent
in one message, would silence all calls for seconds. So it is processed in slices, and the slices of all calls are at
least one slot apart.
"""

from __future__ import annotations

from audio.formats import AudioFormat

FRAME_MS = 20  # sound is processed in steps of this length, whatever the length of its frames
SLICE_MS = 40  # of sound, which take 1 or 2 ms of work
SLOT_MS = 5
# At most AT_ONCE_MS of sound is processed at once in each WINDOW_MS: callers and networks are seldom that far ahead.
AT_ONCE_MS = 120
WINDOW_MS = 20


class SliceSchedule:
    """Assigns the slots in which calls process their pending slices; all calls of a loop share one schedule."""

    def __init__(self) -> None:
        self._free_ms = 0
        self._began_ms: int | None = None  # when the last slice began

    def book(self, now_ms: int) -> int:
        """Book a slot, and return its time."""
        at_ms = max(now_ms, self._free_ms)
        self._free_ms = at_ms + SLOT_MS
        return at_ms

    def begin(self, now_ms: int) -> bool:
        """Begin a slice at its booked time; False if another slice was late and has just used this time.

        After a stall all past slots are due at once: without this check their slices would run without a pause between.
        """
        if self._began_ms is not None and self._began_ms <= now_ms < self._began_ms + SLOT_MS:
            return False
        self._began_ms = now_ms
        self._free_ms = max(self._free_ms, now_ms + SLOT_MS)
        return True


class Pace:
    """Tells whether a call's sound arrives at about real time or faster."""

    def __init__(self, format: AudioFormat) -> None:
        self._limit_bytes = format.bytes_for_ms(AT_ONCE_MS)
        self._since_ms: int | None = None
        self._taken_bytes = 0

    def allows(self, payload_bytes: int, now_ms: int) -> bool:
        """Whether this much more sound can be processed now."""
        if self._since_ms is None or now_ms - self._since_ms >= WINDOW_MS:
            self._since_ms = now_ms
            self._taken_bytes = 0
        self._taken_bytes += payload_bytes
        return self._taken_bytes <= self._limit_bytes
