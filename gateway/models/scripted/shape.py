"""A script for the scripted model, as plain values; `file.py` reads it from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from audio.formats import AudioFormat
from sessions.usage import TokenUsage

# The pace at which everything is sent at once.
FAST: Final = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Mono sound that was read from a file."""

    format: AudioFormat
    payload: bytes


@dataclass(frozen=True, slots=True)
class When:
    """The condition of a turn; a field that is None is not checked."""

    # A typed text contains this.
    text: str | None = None
    # The caller spoke, or did not.
    spoken: bool | None = None
    # A picture came, or did not.
    image: bool | None = None
    # The output of this function came.
    tool: str | None = None
    # An output (of `tool`, if it is set) contains this.
    contains: str | None = None
    # The response is out of band.
    out_of_band: bool = False
    # The session was opened by the dial of this number, from 0.
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Hears:
    """The transcription of what the caller said; it is sent `after_ms` after the response was requested."""

    text: str
    after_ms: int = 0
    # The transcription comes word by word first.
    parts: bool = False
    # The transcription fails.
    fails: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function to call; `arguments` is a JSON text, or any text, as a confused model may send."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error; it comes after `after_ms` of the answer's sound."""

    code: str
    message: str
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of an answer; positions (`drop_ms`, `stall_ms`, ...) are ms from the start of the answer's sound."""

    # The connection is cut.
    drop_ms: int | None = None
    # The answer stops, and never ends.
    stall_ms: int | None = None
    # The answer ends because it has reached the token limit.
    incomplete_ms: int | None = None
    # An error event comes, and the answer continues.
    error: Trouble | None = None
    # The answer fails.
    fail: Trouble | None = None
    # The first event of this type is sent twice.
    duplicate: str | None = None
    # The first event of this type is sent after the event that follows it.
    reorder: str | None = None
    # Events of this type are not sent.
    lose: str | None = None
    # This many deltas of sound are sent after the end of the answer.
    late_audio: int = 0
    # `response.done` is delayed by this time.
    done_late_ms: int = 0


NO_FAULTS = Faults()


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One answer of the model."""

    say: str
    when: When | None
    hears: Hears | None
    recording: Recording | None
    after_ms: int
    # A multiple of real time, or FAST.
    pace: float | None
    calls: tuple[ToolCall, ...]
    usage: TokenUsage
    repeat: bool
    faults: Faults


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that the scripted model says and does."""

    model: str
    turns: tuple[ScriptedTurn, ...]
    otherwise: ScriptedTurn
    refuse: tuple[int | None, ...] = ()
    ms_per_word: int = 300
    # The length of the sound in one delta.
    piece_ms: int = 100
    # The root mean square of 16-bit samples above which the caller speaks.
    voice_gate: int = 400
    usage: TokenUsage = field(default_factory=TokenUsage)

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status with which the dial of this number (from 0) is refused; None where it is accepted."""
        return self.refuse[attempt] if attempt < len(self.refuse) else None
