"""When a call acts by itself: greeting, length and silence limits; and how quick each answer was."""

from __future__ import annotations

from audio.formats import AudioFormat, AudioFrame
from audio.levels import FrameTime, LevelTrack

KEEP_LEVELS_MS = 120_000  # a caller who speaks longer than this without a pause has only the end of it measured
TRIM_EVERY_MS = 1_000  # a long silent lead-in is not searched again with each frame
TRIM_KEEP_MS = 100


class Stopwatch:
    """Finds the time from the end of the caller's speech to the first audible sample of the answer.

    Works on levels (one number per 5 ms), so that a model's silence window, or a silent lead-in of its voice, counts.
    """

    __slots__ = (
        "_agent",
        "_agent_format",
        "_trim_ms",
        "_typed_ms",
        "caller",
        "listening",
    )

    def __init__(self) -> None:
        self.caller: LevelTrack | None = None
        self._agent: LevelTrack | None = None
        self._agent_format: AudioFormat | None = None
        self._typed_ms: int | None = None
        self._trim_ms = 0.0  # when to let go of a silent lead-in next
        self.listening = False  # to the answer, until its first audible sample

    def caller_track(self, format: AudioFormat) -> LevelTrack:
        """What takes caller sound of this format, each frame as it arrives; kept in `caller` for the next one."""
        if self.caller is None or self.caller.format != format:
            self.caller = LevelTrack(format, FrameTime.END)
        return self.caller

    @property
    def caller_audible_ms(self) -> int | None:
        """The last moment at which the caller was audible; None where that was never, or too long ago."""
        return None if self.caller is None else self.caller.last_audible_ms()

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
        ended_ms = self._typed_ms
        if ended_ms is None and self.caller is not None:
            ended_ms = self.caller.last_audible_ms(until_ms=audible_ms)
            self.caller.trim(audible_ms - KEEP_LEVELS_MS)
        self._typed_ms = None
        return None if ended_ms is None else max(0, audible_ms - ended_ms)

    def text_answer(self, now_ms: int) -> int | None:
        """The first piece of a written answer came now. Returns the latency in ms, once per answer."""
        if not self.listening or self._typed_ms is None:
            return None
        self.listening = False
        latency_ms, self._typed_ms = now_ms - self._typed_ms, None
        return latency_ms


class Limits:
    """The call's length and its longest silence, and what each counts from."""

    __slots__ = (
        "_active_ms",
        "_ends_ms",
        "_idle_ms",
    )

    def __init__(self, started_ms: int, length_ms: int, idle_ms: int | None) -> None:
        self._ends_ms = started_ms + length_ms
        self._idle_ms = idle_ms
        self._active_ms = started_ms

    def active(self, until_ms: int) -> None:
        """Somebody speaks or types, until this moment."""
        if until_ms > self._active_ms:
            self._active_ms = until_ms

    @property
    def active_ms(self) -> int:
        """The last moment at which anybody is known to have spoken or typed."""
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
