"""The caller's sound on its way from a telephone's media socket to the call: placed in time, and without holes.

One timer looks after the lines of all calls: a timer for each, set anew after every hole that did not come, would cost
more than the sound.
"""

from __future__ import annotations

from collections.abc import Callable

from audio.line_in import LineCounts, LineIn
from gateway.callers.phone.codec import MediaStarted
from gateway.guard import Guard
from gateway.legs.phone import PhoneLeg
from gateway.timer import Alarm
from sessions.errors import WireError
from sessions.line_events import CallerSilence, LineMeasured
from sessions.ports import Clock

WATCH_EVERY_MS = 10
MEASURE_EVERY_MS = 1_000


class LineFeed:
    """The line in of one call, in front of its leg."""

    __slots__ = ("_fault", "_leg", "_line", "_measured", "_measured_at_ms", "_watch", "due_ms")

    def __init__(
        self,
        leg: PhoneLeg,
        started: MediaStarted,
        watch: LineWatch,
        now_ms: int,
        fault: Callable[[BaseException], None],
    ) -> None:
        """`fault` gets what filling a hole raises."""
        self._leg = leg
        self._line = LineIn(started.rules.format, now_ms, frame_ms=started.frame_ms)
        self._watch = watch
        self._fault = fault
        self._measured_at_ms = now_ms
        self._measured = LineCounts()
        self.due_ms = self._line.deadline_ms  # when there is a hole, if no sound comes before
        watch.join(self)

    def sound(self, payload: bytes, now_ms: int) -> None:
        """Hand sound on that has just arrived. Raises WireError for half a sample."""
        line = self._line
        try:
            frame = line.sound(payload, now_ms)
        except ValueError as error:
            raise WireError("The sound is not whole samples.", code="invalid_sound") from error
        self.due_ms = line.deadline_ms
        if frame is not None:
            self._leg.sound(frame)

    def on_time(self, now_ms: int) -> None:
        """Fill a hole, if there is one."""
        with Guard(self._fault):
            silence = self._line.on_time(now_ms)
            self.due_ms = self._line.deadline_ms
            if silence is not None:
                self._leg.deliver(CallerSilence(silence))
            if now_ms - self._measured_at_ms >= MEASURE_EVERY_MS:
                self.measure(now_ms)

    def measure(self, now_ms: int) -> None:
        """Tell the call how the line is, if that has changed."""
        self._measured_at_ms = now_ms
        counts = self._line.counts
        if counts != self._measured:
            self._measured = counts
            self._leg.deliver(LineMeasured(counts))

    def end(self) -> None:
        """Fill no more holes. This drops the reference to the call."""
        self._watch.leave(self)
        self._fault = _no_fault


class LineWatch:
    """Looks every `WATCH_EVERY_MS` for the lines of this process on which no sound has come; none, no timer."""

    __slots__ = ("_alarm", "_clock", "_feeds")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._feeds: dict[LineFeed, None] = {}
        self._alarm = Alarm(clock, self._ring)

    def join(self, feed: LineFeed) -> None:
        """Watch one more line."""
        self._feeds[feed] = None
        self._alarm.set(self._clock.now_ms() + WATCH_EVERY_MS)

    def leave(self, feed: LineFeed) -> None:
        """Watch this line no more. Harmless where it is not watched."""
        self._feeds.pop(feed, None)
        if not self._feeds:
            self._alarm.cancel()

    def _ring(self) -> None:
        now_ms = self._clock.now_ms()
        self._alarm.set(now_ms + WATCH_EVERY_MS)
        for feed in [feed for feed in self._feeds if feed.due_ms <= now_ms]:
            feed.on_time(now_ms)


def _no_fault(error: BaseException) -> None:
    """Stands in for the call after its end."""
