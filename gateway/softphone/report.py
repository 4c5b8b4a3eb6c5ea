"""The result of a call: a row for each turn, with the latency computed from the sound itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from audio.formats import PCM16_24K, AudioFrame
from audio.level_history import WINDOW_MS
from audio.levels import FrameTime, LevelTrack
from gateway.softphone.playback import Played

STEP_MS = 100


@dataclass(slots=True)
class ToolRow:
    """A tool run by the server, as the caller's client saw it."""

    name: str
    arguments: str
    output: str | None
    error: str | None


@dataclass(slots=True)
class ProblemRow:
    """What went wrong, in the short names of the gateway or the model."""

    code: str
    type: str | None

    def __str__(self) -> str:
        return self.code if self.type in (None, self.code) else f"{self.code} ({self.type})"


@dataclass(slots=True)
class TurnRow:
    """One turn: `said` by the caller, `heard` by the agent, and the answer. Times are in ms since the call began."""

    number: int
    said: str
    begin_ms: int
    end_ms: int | None = None
    heard: str = ""
    answer: str = ""
    tools: list[ToolRow] = field(default_factory=list)
    latency_ms: int | None = None
    interrupted: bool = False
    error: str | None = None
    problem: ProblemRow | None = None  # what the model reported about the answer


@dataclass(slots=True)
class CallReport:
    """The whole call."""

    agent: str
    session_id: str = ""
    greeting: str = ""
    turns: list[TurnRow] = field(default_factory=list)
    saved: dict[str, str] = field(default_factory=dict)
    problems: list[ProblemRow] = field(default_factory=list)  # from each error event, in order
    ended: str = ""  # who or what ended the call
    close_code: int | None = None
    protocol: str = "realtime"
    faults: list[str] = field(default_factory=list)  # of the gateway against the carrier's protocol
    remark: str = ""  # why a part of this report is missing

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return asdict(self)

    @property
    def failed(self) -> bool:
        """Whether a turn had no answer, there was no turn, or the gateway broke the protocol."""
        return any(turn.error for turn in self.turns) or not self.turns or bool(self.faults)


def measure(turns: list[TurnRow], caller: bytes | bytearray, agent: Sequence[Played]) -> None:
    """Fill in each turn's latency: from the last audible sample of the caller to the next audible one of the agent.

    `caller` is 24 kHz PCM16 from the call's start; `agent` is the agent's sound as played. A barge-in cuts off the
    agent's earlier sound, so sound after the turn's end belongs to its answer.
    """
    length_ms = PCM16_24K.ms_of(len(caller) // 2)
    for index, turn in enumerate(turns):
        if turn.end_ms is None:
            continue
        until_ms = turns[index + 1].begin_ms if index + 1 < len(turns) else max(length_ms, _end_ms(agent))
        said = LevelTrack(PCM16_24K, FrameTime.BEGIN)
        _feed(said, caller, 0, turn.begin_ms, min(turn.end_ms, length_ms))
        ended_ms = said.last_audible_ms()
        if ended_ms is None:
            continue  # a silent recording has no audible end
        answer = LevelTrack(PCM16_24K, FrameTime.BEGIN)
        for run in agent:
            _feed(answer, run.pcm, run.begin_ms, ended_ms, until_ms)
        audible_ms = answer.first_audible_ms(ended_ms)
        if audible_ms is not None:
            turn.latency_ms = audible_ms - ended_ms


def _feed(track: LevelTrack, pcm: bytes | bytearray, begin_ms: int, from_ms: int, until_ms: int) -> None:
    """Feed a track the part of this sound between two moments. Past two minutes, the track keeps only the end.

    Levels are computed from the sound's own beginning, as the gateway does, so that both find the same moment.
    """
    first_ms = max(0, from_ms - begin_ms) // WINDOW_MS * WINDOW_MS
    last_ms = min(until_ms - begin_ms, PCM16_24K.ms_of(len(pcm) // 2))
    for at_ms in range(first_ms, last_ms, STEP_MS):
        payload = pcm[PCM16_24K.bytes_for_ms(at_ms) : PCM16_24K.bytes_for_ms(min(at_ms + STEP_MS, last_ms))]
        track.feed(AudioFrame(bytes(payload), PCM16_24K, at_ms * 24), begin_ms + at_ms)


def _end_ms(agent: Sequence[Played]) -> int:
    return max((run.begin_ms + PCM16_24K.ms_of(len(run.pcm) // 2) for run in agent), default=0)
