"""Counts one turn of a call: the turn itself, its responses, its tools, and how much of its speech was heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.telemetry.codes import known_code
from gateway.telemetry.figures import Figures
from gateway.telemetry.names import AUDIO, FIRST_CHUNK, INFERENCE, INTERRUPTIONS, TOOL_TIME, TURN_LATENCY, TURNS
from gateway.telemetry.providers import REALTIME_INFERENCE, provider_and_model
from sessions.accounts import ResponseUse
from sessions.problems import OTHER
from sessions.record import Speaker, ToolUse, Turn, Utterance
from sessions.values import Outcome

# The outcome of a turn that the agent never answered, and the error of what had not ended when its call did.
UNANSWERED = "unanswered"
CALL_ENDED = "call_ended"


def is_settled(turn: Turn) -> bool:
    """Whether the turn has ended and nothing of it is awaited: no response, no tool of the agent, no words, no sound.

    Speech that was stopped for another reason than an interruption settles its turn only when the call ends.
    """
    if turn.end_ms is None or any(use.end_ms is None for use in turn.responses):
        return False
    return not any(_is_awaited(entry, interrupted=turn.interrupted) for entry in turn.entries)


def _is_awaited(entry: Utterance | ToolUse, *, interrupted: bool) -> bool:
    if isinstance(entry, ToolUse):
        return entry.server_side and entry.end_ms is None
    return not entry.final or (entry.heard_ms < entry.sent_ms and not interrupted)


@dataclass(frozen=True, slots=True)
class _Heard:
    """How much of a turn's speech was heard, how much was sent in vain (in ms), and whether it was interrupted."""

    heard_ms: int = 0
    unheard_ms: int = 0
    interrupted: bool = False

    @classmethod
    def of(cls, turn: Turn) -> _Heard:
        """What the turn's record says now."""
        spoken = [one for one in turn.entries if isinstance(one, Utterance) and one.speaker is Speaker.AGENT]
        heard_ms = sum(one.heard_ms for one in spoken)
        return cls(heard_ms, max(0, sum(one.sent_ms for one in spoken) - heard_ms), turn.interrupted)


class TurnFigures:
    """Counts the turns of one call, each once, and what becomes known of their speech afterwards."""

    __slots__ = ("_agent", "_figures", "_heard", "_model", "_model_of")

    def __init__(self, figures: Figures, agent: str, model: str, model_of: Callable[[int], str]) -> None:
        """`model_of` names the model of a dial, by its index."""
        self._figures = figures
        self._agent = agent
        self._model = model
        self._model_of = model_of
        self._heard: dict[int, _Heard] = {}  # as counted, by turn

    def is_counted(self, index: int) -> bool:
        """Whether the turn of this index has been counted."""
        return index in self._heard

    def count(self, turn: Turn, now_ms: int) -> None:
        """Count a turn; what has not ended by now, since the call's start, ends with its call."""
        figures, agent = self._figures, self._agent
        figures.add(TURNS, agent, turn.outcome or UNANSWERED)
        if turn.latency_ms is not None:
            figures.observe(TURN_LATENCY, turn.latency_ms / 1000, agent, self._model)
        for use in turn.responses:
            self._response(use, now_ms)
        for entry in turn.entries:
            if isinstance(entry, ToolUse) and entry.server_side:
                self._tool(entry, now_ms)
        self._heard[turn.index] = _Heard()
        self.count_heard(turn)

    def count_heard(self, turn: Turn) -> None:
        """Count what has become known of the speech of a turn that was counted before. Counters only grow."""
        before, now = self._heard[turn.index], _Heard.of(turn)
        self._heard[turn.index] = now
        self._figures.add(AUDIO, "agent", "carried", by=max(0, now.heard_ms - before.heard_ms) / 1000)
        self._figures.add(AUDIO, "agent", "unheard", by=max(0, now.unheard_ms - before.unheard_ms) / 1000)
        if now.interrupted and not before.interrupted:
            self._figures.add(INTERRUPTIONS, self._agent)

    def _response(self, use: ResponseUse, now_ms: int) -> None:
        labels = (REALTIME_INFERENCE, *provider_and_model(self._model_of(use.leg)))
        begin_ms = use.begin_ms if use.asked_ms is None else use.asked_ms
        end_ms = now_ms if use.end_ms is None else use.end_ms
        self._figures.observe(INFERENCE, max(0, end_ms - begin_ms) / 1000, *labels, _error_of(use))
        if use.asked_ms is not None and use.first_sound_ms is not None:
            self._figures.observe(FIRST_CHUNK, max(0, use.first_sound_ms - use.asked_ms) / 1000, *labels)

    def _tool(self, use: ToolUse, now_ms: int) -> None:
        end_ms, error = (now_ms, CALL_ENDED) if use.end_ms is None else (use.end_ms, use.error or "")
        name = OTHER if use.made_up else use.name
        self._figures.observe(TOOL_TIME, max(0, end_ms - use.begin_ms) / 1000, name, error)


def _error_of(use: ResponseUse) -> str:
    """The class of a response's error; empty where it is none that the caller stopped it."""
    if use.end_ms is None:
        return CALL_ENDED
    if use.outcome not in (Outcome.FAILED, Outcome.INCOMPLETE):
        return ""
    return OTHER if use.reason is None else known_code(use.reason)
