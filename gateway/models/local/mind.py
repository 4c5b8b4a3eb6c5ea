"""What came from the caller, and what thinks of an answer to it: the dialogue's rules, or a chat endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.models.local.moves import Move, ToolCall
from gateway.models.local.rules import Dialogue
from gateway.models.local.talk import Talk
from sessions.ports import JsonObject


@dataclass(slots=True)
class Spoken:
    """Speech of the caller. `text` None: not understood. While not `settled`, it is still being recognised."""

    item_id: str
    text: str | None = None
    settled: bool = False
    free: bool = False  # from a recogniser without the grammar


@dataclass(frozen=True, slots=True)
class Typed:
    """Text that the caller wrote."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image. `url` is a data URL."""

    url: str


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool gave."""

    call_id: str
    output: str


Input: TypeAlias = Spoken | Typed | Picture | ToolOutput


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A tool to be called; `arguments` is a JSON text."""

    tool: str
    arguments: str
    origin: ToolCall | None  # the dialogue's own note of it


class Thought(Protocol):
    """An answer that is being thought of: sentences come, then it is `done`."""

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        ...

    def take(self) -> list[str]:
        """The sentences that have come since the last time."""
        ...

    def calls(self) -> list[WantedCall]:
        """The tools to be called, once it is done."""
        ...

    def drop(self) -> None:
        """Nobody wants it any more."""
        ...


class Mind(Protocol):
    """Thinks of answers. It is told everything in order, and keeps the conversation."""

    @property
    def expects(self) -> str:
        """The state of the dialogue, by which a grammar is chosen."""
        ...

    def configured(self, session: JsonObject) -> None:
        """The session's instructions and tools."""
        ...

    def answer(self, inputs: Sequence[Input]) -> Thought:
        """Think of an answer to what came since the last one; all of it settled."""
        ...

    def answer_apart(self, inputs: Sequence[Input]) -> Thought:
        """Think of an answer beside the conversation, which does not hear of it."""
        ...

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """History: these were answered so, by an earlier model."""
        ...

    def said(self, text: str) -> None:
        """The agent says this by request."""
        ...

    def called(self, call_id: str, call: WantedCall) -> None:
        """A wanted call got this id."""
        ...

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """History: an earlier model called this tool."""
        ...


class Ready:
    """A thought that was had at once."""

    def __init__(self, text: str, call: ToolCall | None) -> None:
        self._text = text
        self._call = call
        self.done = True

    def take(self) -> list[str]:
        """All of it, once."""
        text, self._text = self._text, ""
        return [text] if text else []

    def calls(self) -> list[WantedCall]:
        """One or none."""
        return [] if self._call is None else [WantedCall(self._call.tool, self._call.arguments, self._call)]

    def drop(self) -> None:
        """Nothing to be stopped."""


class DialogueMind:
    """Answers by the agent's rules."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._talk = Talk(dialogue)
        self._last_call: ToolCall | None = None  # of history, until its id is told

    @property
    def expects(self) -> str:
        """What the dialogue has asked for."""
        return self._talk.state

    def configured(self, session: JsonObject) -> None:
        """Rules need neither instructions nor tools."""

    def answer(self, inputs: Sequence[Input]) -> Thought:
        """All inputs' answers, one after the other; the last call that they want."""
        return self._answer(self._talk, inputs)

    def answer_apart(self, inputs: Sequence[Input]) -> Thought:
        """By a conversation of its own."""
        return self._answer(Talk(self._dialogue), inputs)

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """The rules go on from where these would have brought them."""
        for entry in inputs:
            move = self._move(self._talk, entry)
            self._last_call = move.call or self._last_call
        if agent_text:
            self._talk.greeted(agent_text)

    def said(self, text: str) -> None:
        """To be said again on request."""
        self._talk.greeted(text)

    def called(self, call_id: str, call: WantedCall) -> None:
        """The result will be known by this id."""
        if call.origin is not None:
            self._talk.called(call_id, call.origin)

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """If the rules would have called it, they know what to do with its result."""
        if self._last_call is not None and self._last_call.tool == tool:
            self._talk.called(call_id, self._last_call)
            self._last_call = None

    def _answer(self, talk: Talk, inputs: Sequence[Input]) -> Thought:
        moves = [self._move(talk, entry) for entry in inputs]
        if not moves:
            return Ready(self._dialogue.texts.more, None)
        text = " ".join(move.say for move in moves if move.say)
        return Ready(text, next((move.call for move in reversed(moves) if move.call is not None), None))

    def _move(self, talk: Talk, entry: Input) -> Move:
        match entry:
            case Spoken():
                if entry.text is None:
                    return talk.not_understood()
                return talk.written(entry.text) if entry.free else talk.spoken(entry.text)
            case Typed(text):
                return talk.written(text)
            case Picture():
                return Move(self._dialogue.texts.no_pictures)
            case ToolOutput(call_id, output):
                return talk.tool_answered(call_id, output)
