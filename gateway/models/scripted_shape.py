"""A script for the scripted model, as plain values; `scripted_file.py` reads it from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from audio.formats import AudioFormat
from sessions.usage import TokenUsage

FAST: Final = None  # as a pace: all at once


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound out of a file, mono."""

    format: AudioFormat
    payload: bytes


@dataclass(frozen=True, slots=True)
class When:
    """What must have happened for a turn to be taken; what is None does not matter."""

    text: str | None = None  # a typed text contains this
    spoken: bool | None = None  # the caller spoke, or did not
    image: bool | None = None  # a picture came, or did not
    tool: str | None = None  # this function's output came
    contains: str | None = None  # that output contains this
    out_of_band: bool = False
    attempt: int | None = None  # the session was opened by this dial, counted from 0


@dataclass(frozen=True, slots=True)
class Hears:
    """What the caller is taken to have said, told so long after the answer was asked for."""

    text: str
    after_ms: int = 0
    parts: bool = False  # word by word first
    fails: bool = False  # told as a failed transcription


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function to call; `arguments` is a JSON text, or what a confused model takes for one."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error with its words, after so much of the answer's sound."""

    code: str
    message: str
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in an answer. Positions (`drop_ms`, `stall_ms`, ...) are in the answer's own sound."""

    drop_ms: int | None = None  # the connection is cut
    stall_ms: int | None = None  # nothing more comes
    incomplete_ms: int | None = None  # the token limit is met
    error: Trouble | None = None  # an error event; the answer goes on
    fail: Trouble | None = None  # the answer fails
    duplicate: str | None = None  # the first event of this type comes twice
    reorder: str | None = None  # the first event of this type changes places with the next one
    lose: str | None = None  # events of this type never come
    late_audio: int = 0  # so many deltas of sound come after the end of the answer
    done_late_ms: int = 0  # `response.done` comes so much later


NO_FAULTS = Faults()


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One answer of the model."""

    say: str
    when: When | None
    hears: Hears | None
    recording: Recording | None
    after_ms: int
    pace: float | None  # times real time, or FAST
    calls: tuple[ToolCall, ...]
    usage: TokenUsage
    repeat: bool
    faults: Faults


@dataclass(frozen=True, slots=True)
class Script:
    """All that the scripted model knows."""

    model: str
    turns: tuple[ScriptedTurn, ...]
    otherwise: ScriptedTurn
    refuse: tuple[int | None, ...] = ()
    ms_per_word: int = 300
    piece_ms: int = 100  # of sound in one delta
    voice_gate: int = 400  # root mean square of 16-bit samples, above which the caller speaks
    usage: TokenUsage = field(default_factory=TokenUsage)

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status that the dial of this number (from 0) is refused with; None where it is let in."""
        return self.refuse[attempt] if attempt < len(self.refuse) else None
