"""Items of a conversation as text, which any model can be given: those of an earlier leg, and those a client adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sessions.record import Speaker, ToolUse, Turn

# The result of a tool call that never returned, as a new session of the model is given it.
UNANSWERED = '{"error": "the tool had not answered when the conversation broke off"}'


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message. `role` is user, assistant or system."""

    item_id: str
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class PastToolCall:
    """A function call with its result; `output` is None where the result is still to come."""

    item_id: str
    call_id: str
    name: str
    arguments: str
    output: str | None


Past: TypeAlias = PastMessage | PastToolCall


def told_as(entry: Past) -> str:
    """The name by which it is known whether a model has this entry: a function call's id, a message's item id."""
    return entry.call_id if isinstance(entry, PastToolCall) else entry.item_id


def in_words(text: str, images: int) -> str:
    """A message as text, for a session that cannot be given its images."""
    return f"{text} [{images} image(s), no longer here]".lstrip() if images else text


def past_of(turns: Iterable[Turn]) -> tuple[Past, ...]:
    """The conversation of some turns for a new session: what was said, and tool calls with their results.

    Of the agent's speech there is only what the caller has heard. An entry without text is left out.
    """
    past: list[Past] = []
    for turn in turns:
        for entry in turn.entries:
            if isinstance(entry, ToolUse):
                output = UNANSWERED if entry.output is None else entry.output
                past.append(PastToolCall(entry.item_id, entry.call_id, entry.name, entry.arguments, output))
                continue
            text = entry.text if entry.speaker is Speaker.CALLER else entry.heard_text
            text = in_words(text, entry.images)
            if text.strip():
                role = "user" if entry.speaker is Speaker.CALLER else "assistant"
                past.append(PastMessage(entry.item_id, role, text))
    return tuple(past)


def history(turns: Iterable[Turn]) -> tuple[Past, ...]:
    """The same for turns in any order, as a store may give them."""
    return past_of(sorted(turns, key=lambda turn: turn.index))
