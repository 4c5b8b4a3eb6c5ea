"""The caller's inputs, and the protocol of what answers them: the dialogue's rules or a chat endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.models.local.dialogue.replies import Reply, ToolCall
from gateway.models.local.dialogue.rule_conversation import RuleConversation
from gateway.models.local.dialogue.rules import Dialogue
from sessions.ports import JsonObject


@dataclass(slots=True)
class Spoken:
    """Speech of the caller. `text` None: not understood. Until it is `settled`, it is still being recognised."""

    item_id: str
    text: str | None = None
    settled: bool = False
    free_text: bool = False  # from a recogniser without the dialogue's grammar


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
    """A tool's result."""

    call_id: str
    output: str


Input: TypeAlias = Spoken | Typed | Picture | ToolOutput


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A tool call that an answer requests; `arguments` is a JSON text."""

    tool: str
    arguments: str
    origin: ToolCall | None  # the dialogue's record of it; None for a chat endpoint


class Answer(Protocol):
    """An answer in progress: its sentences arrive one by one, then it is `done`."""

    @property
    def done(self) -> bool:
        """Whether no more sentences follow."""
        ...

    def take(self) -> list[str]:
        """The sentences since the last call."""
        ...

    def calls(self) -> list[RequestedCall]:
        """The tool calls that the answer requests, once it is done."""
        ...

    def drop(self) -> None:
        """Cancel: the answer is no longer needed."""
        ...


class Answerer(Protocol):
    """Answers the caller. It gets every event of the conversation in order, and keeps the conversation's state."""

    @property
    def state(self) -> str:
        """The state of the dialogue, which selects the grammar for the next speech."""
        ...

    def configured(self, session: JsonObject) -> None:
        """Take over the session's instructions and tools."""
        ...

    def answer(self, inputs: Sequence[Input]) -> Answer:
        """Answer the inputs since the last answer; all speech among them is settled."""
        ...

    def answer_out_of_band(self, inputs: Sequence[Input]) -> Answer:
        """Answer these inputs outside the conversation, whose state does not change."""
        ...

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """Add history: an earlier model answered these inputs with `agent_text`."""
        ...

    def said(self, text: str) -> None:
        """Add a sentence that the agent speaks on request, such as a greeting."""
        ...

    def called(self, call_id: str, call: RequestedCall) -> None:
        """A requested call has got this id."""
        ...

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """Add history: an earlier model called this tool."""
        ...


class ReadyAnswer:
    """An answer that is complete from the start."""

    def __init__(self, text: str, call: ToolCall | None) -> None:
        self._text = text
        self._call = call
        self.done = True

    def take(self) -> list[str]:
        """The whole text, at the first call."""
        text, self._text = self._text, ""
        return [text] if text else []

    def calls(self) -> list[RequestedCall]:
        """The requested call, if there is one."""
        return [] if self._call is None else [RequestedCall(self._call.tool, self._call.arguments, self._call)]

    def drop(self) -> None:
        """Nothing to cancel."""


class DialogueAnswerer:
    """Answers with the agent's rules."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._conversation = RuleConversation(dialogue)
        self._last_call: ToolCall | None = None  # a call in the history whose id is not known yet

    @property
    def state(self) -> str:
        """The dialogue's state."""
        return self._conversation.state

    def configured(self, session: JsonObject) -> None:
        """Nothing to do: rules use neither instructions nor tools."""

    def answer(self, inputs: Sequence[Input]) -> Answer:
        """The replies to all inputs joined, with the last of the calls that they request."""
        return self._answer(self._conversation, inputs)

    def answer_out_of_band(self, inputs: Sequence[Input]) -> Answer:
        """Answer in a new conversation."""
        return self._answer(RuleConversation(self._dialogue), inputs)

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """Bring the rules to the state that these inputs lead to."""
        for entry in inputs:
            reply = self._reply(self._conversation, entry)
            self._last_call = reply.call or self._last_call
        if agent_text:
            self._conversation.greeted(agent_text)

    def said(self, text: str) -> None:
        """Remember the sentence, which the caller may ask to be repeated."""
        self._conversation.greeted(text)

    def called(self, call_id: str, call: RequestedCall) -> None:
        """Remember the call's id, by which its result will be recognised."""
        if call.origin is not None:
            self._conversation.called(call_id, call.origin)

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """If the rules would have made this call, remember its id for its result."""
        if self._last_call is not None and self._last_call.tool == tool:
            self._conversation.called(call_id, self._last_call)
            self._last_call = None

    def _answer(self, conversation: RuleConversation, inputs: Sequence[Input]) -> Answer:
        replies = [self._reply(conversation, entry) for entry in inputs]
        if not replies:
            return ReadyAnswer(self._dialogue.texts.more, None)
        text = " ".join(reply.say for reply in replies if reply.say)
        return ReadyAnswer(text, next((reply.call for reply in reversed(replies) if reply.call is not None), None))

    def _reply(self, conversation: RuleConversation, entry: Input) -> Reply:
        match entry:
            case Spoken():
                if entry.text is None:
                    return conversation.not_understood()
                return conversation.written(entry.text) if entry.free_text else conversation.spoken(entry.text)
            case Typed(text):
                return conversation.written(text)
            case Picture():
                return Reply(self._dialogue.texts.no_pictures)
            case ToolOutput(call_id, output):
                return conversation.tool_answered(call_id, output)
