"""The times at which a call acts by itself, its limits, and the latency of its answers."""

from __future__ import annotations

from dataclasses import dataclass

from audio.formats import AudioFormat, AudioFrame
from audio.levels import FrameTime, LevelTrack

# Of a caller who speaks for longer than this without a pause only the end is measured.
KEEP_LEVELS_MS = 120_000
# A long silent beginning of an answer is dropped at these intervals, so that it is not searched again at each frame.
TRIM_EVERY_MS = 1_000
TRIM_KEEP_MS = 100


class Stopwatch:
    """Finds the time from the end of the caller's speech to the first audible sample of the answer.

    It works on levels (one number per 5 ms), so that the model's silence window and silence in the answer count.
    """

    __slots__ = (
        "_agent",
        "_agent_format",
        "_trim_ms",
        "_typed_ms",
        "audible_ms",
        "caller",
        "listening",
    )

    def __init__(self) -> None:
        self.caller: LevelTrack | None = None
        self._agent: LevelTrack | None = None
        self._agent_format: AudioFormat | None = None
        self._typed_ms: int | None = None
        self._trim_ms = 0.0  # when the silent beginning is dropped next
        self.listening = False  # for the answer's first audible sample
        self.audible_ms = 0  # when the last answer's first audible sample begins to sound

    def caller_track(self, format: AudioFormat) -> LevelTrack:
        """The level track for caller sound of this format, to be fed each frame when it arrives; also in `caller`."""
        if self.caller is None or self.caller.format != format:
            self.caller = LevelTrack(format, FrameTime.END)
        return self.caller

    @property
    def caller_audible_ms(self) -> int | None:
        """When the caller was last audible; None if never, or too long ago."""
        return None if self.caller is None else self.caller.last_audible_ms()

    def speech_begin_ms(self, since_ms: int) -> int:
        """When the caller is first audible from this time on; this time, if nothing after it is above the gate."""
        audible_ms = None if self.caller is None else self.caller.first_audible_ms(since_ms)
        return since_ms if audible_ms is None else audible_ms

    def caller_typed(self, now_ms: int) -> None:
        """The caller's turn ended with typed text, now."""
        self._typed_ms = now_ms

    def caller_speaks(self) -> None:
        """Speech began: typed text no longer marks the end of the turn."""
        self._typed_ms = None
        self.listening = False

    def answer_begins(self) -> None:
        """Listen for the first audible sample from here on."""
        self.listening = True
        self._agent = None
        self._trim_ms = 0.0

    def agent_sound(self, frame: AudioFrame, begins_ms: float) -> int | None:
        """Take agent speech that begins to sound at `begins_ms`. Returns the latency in ms, once per answer."""
        if not self.listening:
            return None
        track = self._agent
        if track is None or frame.format != self._agent_format:
            track = self._agent = LevelTrack(frame.format, FrameTime.BEGIN)
            self._agent_format = frame.format
        track.feed(frame, begins_ms)
        audible_ms = track.first_audible_ms()
        if audible_ms is None:
            if begins_ms >= self._trim_ms:
                self._trim_ms = begins_ms + TRIM_EVERY_MS
                track.trim(begins_ms - TRIM_KEEP_MS)
            return None
        self.listening = False
        self.audible_ms = audible_ms
        ended_ms = self._typed_ms
        if ended_ms is None and self.caller is not None:
            ended_ms = self.caller.last_audible_ms(until_ms=audible_ms)
            self.caller.trim(audible_ms - KEEP_LEVELS_MS)
        self._typed_ms = None
        return None if ended_ms is None else max(0, audible_ms - ended_ms)

    def text_answer(self, now_ms: int) -> int | None:
        """Take the first piece of a written answer. Returns the latency in ms, once per answer."""
        if not self.listening or self._typed_ms is None:
            return None
        self.listening = False
        latency_ms, self._typed_ms = now_ms - self._typed_ms, None
        return latency_ms


@dataclass(slots=True)
class DueTimes:
    """When a call does something by itself; None where it waits for nothing of the kind. Times in `now_ms`."""

    greeting_ms: int | None = None  # the greeting is asked for, if the caller has not begun before
    own_answer_ms: int | None = None  # until then the model may begin to answer by itself
    settle_ms: int | None = None  # all speech that was sent has been played: what was heard of it is noted
    leave_ms: int | None = None  # the agent hung up: the call ends then at the latest


class CallTimeouts:
    """Knows when the call has lasted, or has been silent, for too long."""

    __slots__ = (
        "_active_ms",
        "_ends_ms",
        "_idle_ms",
        "started_ms",
    )

    def __init__(self, started_ms: int, length_ms: int, idle_ms: int | None) -> None:
        self._ends_ms = started_ms + length_ms
        self._idle_ms = idle_ms
        self._active_ms = started_ms
        self.started_ms = started_ms

    def active(self, until_ms: int) -> None:
        """Somebody speaks or types, until this moment."""
        if until_ms > self._active_ms:
            self._active_ms = until_ms

    @property
    def active_ms(self) -> int:
        """When anybody is last known to have spoken or typed."""
        return self._active_ms

    @property
    def deadline_ms(self) -> int:
        """When the next limit is reached, if nothing happens."""
        if self._idle_ms is None:
            return self._ends_ms
        return min(self._ends_ms, self._active_ms + self._idle_ms)

    def reached(self, now_ms: int) -> str | None:
        """The end reason, once a limit is reached."""
        if now_ms >= self._ends_ms:
            return "length_limit"
        if self._idle_ms is not None and now_ms >= self._active_ms + self._idle_ms:
            return "idle_limit"
        return None
