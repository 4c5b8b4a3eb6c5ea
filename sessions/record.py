"""What is kept of a call: turns, what was heard, tools, latencies, usage. A later session can be seeded with it.

Times named `*_ms` count from the call's start on the monotonic clock; `started_at` and `ended_at` are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from audio.line_in import LineCounts
from sessions.accounts import ResponseUse, SpeechStretch
from sessions.problems import ModelProblem
from sessions.usage import TokenUsage, TranscriptionUsage


class Heard(StrEnum):
    """How it is known how much of an item was heard."""

    REPORTED = "reported"  # the client said so, or the far end by what it dropped
    ESTIMATED = "estimated"  # the smaller of what was sent and the time that has passed
    MARKED = "marked"  # the far end echoed a mark


class Speaker(StrEnum):
    """Who said something."""

    CALLER = "caller"
    AGENT = "agent"


@dataclass(slots=True)
class Utterance:
    """One utterance of the caller or the agent.

    `text` is all that was said or generated, `heard_text` what the other side heard of it (of an interrupted agent a
    prefix that ends at a word). `sent_ms` and `heard_ms` are 0 for typed text. `begin_ms` is when playback began.
    `transcription` is what the transcription of the caller's sound used, None where the model does not say.
    """

    item_id: str
    speaker: Speaker
    text: str
    heard_text: str
    spoken: bool
    begin_ms: int
    sent_ms: int = 0
    heard_ms: int = 0
    heard: Heard | None = None  # None for the caller's utterances and for text
    final: bool = True  # False while a transcript may still come
    images: int = 0
    keys: bool = False  # the caller has pressed the text on a telephone
    transcription: TranscriptionUsage | None = None
    transcription_cost_nano: int | None = None


@dataclass(slots=True)
class ToolUse:
    """One tool call. `output` is None while it runs; `error` is a kind of `ToolFailed`.

    `server` is the MCP server that the tool belongs to, None for a function. `deadline_ms` is how long the call may
    take; the client's own functions have none, nor has a function that nobody declared.
    """

    call_id: str
    item_id: str
    name: str
    arguments: str
    server_side: bool
    begin_ms: int
    end_ms: int | None = None
    output: str | None = None
    error: str | None = None
    server: str | None = None
    deadline_ms: int | None = None

    @property
    def made_up(self) -> bool:
        """Whether nobody has declared the function: the model has made up its name, which may hold anybody's words."""
        # Records of earlier versions have no deadline of any function; one that has a result was declared.
        return self.server_side and self.deadline_ms is None and (self.error is not None or self.output is None)


@dataclass(slots=True)
class Turn:
    """What the caller said up to an answer (nothing, before a greeting), and all that the agent did in answer.

    `entries` holds utterances and tool uses in the order of the conversation. `latency_ms` runs from the end of the
    caller's speech, or from the typed text, to the first audible sample of the answer; None where there was none.
    `responses` holds the first 32 of the model's responses, `speech` the first 64 stretches of the caller's speech.
    `cost_nano` is what all responses and transcriptions of the turn cost, in nano-dollars; None if that is unknown.
    """

    index: int
    begin_ms: int
    end_ms: int | None = None
    entries: list[Utterance | ToolUse] = field(default_factory=list)
    latency_ms: int | None = None
    interrupted: bool = False
    outcome: str | None = None  # of the last response: completed, cancelled, incomplete, failed
    usage: TokenUsage = field(default_factory=TokenUsage)
    # The last problem that the model has reported; a later answer of the turn may have succeeded.
    problem: ModelProblem | None = None
    responses: list[ResponseUse] = field(default_factory=list)
    speech: list[SpeechStretch] = field(default_factory=list)
    cost_nano: int | None = 0
    budget_reached: bool = False  # the call's budget was used up in this turn


@dataclass(slots=True)
class PlayedSpan:
    """When an agent's item was played: its playback began at `begin_ms`, and `heard_ms` of it were heard."""

    item_id: str
    begin_ms: int
    heard_ms: int


@dataclass(slots=True)
class CallSummary:
    """The sums of a whole call."""

    turns: int = 0
    caller_audio_ms: int = 0
    agent_audio_ms: int = 0
    dropped_audio_ms: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)
    redials: int = 0
    end_reason: str | None = None
    duration_ms: int = 0
    problems: tuple[tuple[ModelProblem, int], ...] = ()  # reported by the model, and how often
    line: LineCounts | None = None  # how the caller's line was, where it is a telephone's
    cost_nano: int | None = 0  # in nano-dollars; None if that of any response or transcription is unknown
    # What transcription used, by model, and what it cost.
    transcriptions: tuple[tuple[TranscriptionUsage, int | None], ...] = ()
    outside: TokenUsage = field(default_factory=TokenUsage)  # of responses beside the conversation; part of `usage`
