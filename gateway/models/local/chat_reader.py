"""Reads a chat endpoint's answer, whole or in deltas, field by field, into text to be spoken and tool calls.

This is the only module that reads a chat endpoint's JSON. It yields text without lone surrogates, and calls whose names
and arguments are strings. Any other shape raises AnswerFault, which costs that answer only. A model's thinking
(`reasoning_content`, parts of the type `thinking`, `<think>`) and its `refusal` are not spoken.
Source: OpenAI API reference, chat completions (streaming); the deviations that compatible services are known to send.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.dialogue.answerer import RequestedCall
from gateway.models.local.requested_calls import RequestedCalls
from gateway.models.local.thinking import ThinkingFilter
from sessions.ports import Json
from sessions.text import well_formed

MOST_TEXT_CHARS = 8000  # of one answer; a model that writes more is cut off
TEXT_PARTS = (None, "text", "output_text")
CUT_REASONS = ("length", "content_filter", "max_tokens")


class ChatReader:
    """Reads one answer."""

    def __init__(self, tools: Collection[str] = ()) -> None:
        """`tools`: the names of the tools in the request."""
        self._calls = RequestedCalls(tools)
        self._thinking = ThinkingFilter()
        self._half = ""  # the first half of a surrogate pair; the second half may be in the next delta
        self.unspoken = ""  # the text that `ChatAnswer.take` has not returned yet
        self.text = ""  # the whole text so far
        self.has_words = False  # whether the text has a letter or a digit
        self.refused = False
        self.finish_reason: str | None = None

    @property
    def full(self) -> bool:
        """Whether the text has reached `MOST_TEXT_CHARS`."""
        return len(self.text) >= MOST_TEXT_CHARS

    def read(self, text: str) -> None:
        """Take one event's data, or a whole body. Raises AnswerFault."""
        try:
            chunk = json.loads(text)  # orjson refuses half of a surrogate pair, though its other half may follow
        except (ValueError, RecursionError):
            raise AnswerFault("the answer is not JSON") from None
        self.take(chunk)

    def take(self, chunk: Json) -> None:
        """Take one chunk. Raises AnswerFault."""
        if not isinstance(chunk, dict):
            raise AnswerFault("the answer is not a JSON object")
        if chunk.get("error"):
            raise AnswerFault("the endpoint reported an error")
        choices = chunk.get("choices")
        if choices is None:
            return
        if not isinstance(choices, list):
            raise AnswerFault("choices is not a list")
        for choice in choices:
            if isinstance(choice, dict):
                if choice.get("index") in (None, 0):  # the request asks for one choice
                    self._take_choice(choice)
            elif choice is not None:
                raise AnswerFault("a choice is not an object")

    def end(self) -> None:
        """The answer has ended: take over text that was held back."""
        half, self._half = self._half, ""
        if half:
            self._append(*self._thinking.feed(well_formed(half)))
        self._append(False, self._thinking.end())

    def requested(self) -> list[RequestedCall]:
        """The requested calls, after the end of the answer."""
        return self._calls.requested(cut=self.finish_reason is None or self.finish_reason in CUT_REASONS)

    def _take_choice(self, choice: dict[str, Json]) -> None:
        delta = choice.get("delta")
        if delta is None:
            delta = choice.get("message")  # an endpoint that does not stream
        if isinstance(delta, dict):
            self._take_text(_text_of(delta.get("content")))
            self._calls.take(delta.get("tool_calls"))
            self._calls.take(delta.get("function_call"))  # the older form of the API
            self.refused = self.refused or bool(delta.get("refusal"))
        elif delta is not None:
            raise AnswerFault("a delta is not an object")
        reason = choice.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            raise AnswerFault("finish_reason is not a string")
        if reason == "error":
            raise AnswerFault("the endpoint reported an error")
        self.finish_reason = reason or self.finish_reason

    def _take_text(self, text: str) -> None:
        text = self._half + text
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        text = well_formed(text[: len(text) - len(self._half)]).replace("\0", "")
        if text:
            self._append(*self._thinking.feed(text))

    def _append(self, was_thinking: bool, text: str) -> None:
        if was_thinking:
            # All text so far was thinking. What has been spoken cannot be undone, but it leaves the conversation.
            self.unspoken = self.text = ""
            self.has_words = False
        text = text[: MOST_TEXT_CHARS - len(self.text)]
        self.unspoken += text
        self.text += text
        self.has_words = self.has_words or any(map(str.isalnum, text))


def _text_of(content: Json) -> str:
    """The text of a message's `content`, which is a string or a list of parts; parts of other types are skipped."""
    match content:
        case None:
            return ""
        case str():
            return content
        case list():
            return "".join(_part_of(part) for part in content)
        case dict():
            return _part_of(content)
    raise AnswerFault("content is neither a string nor a list of parts")


def _part_of(part: Json) -> str:
    match part:
        case None:
            return ""
        case str():
            return part
        case dict():
            kind = part.get("type")
            if kind is not None and not isinstance(kind, str):
                raise AnswerFault("the type of a part of content is not a string")
            if kind not in TEXT_PARTS:
                return ""
            text = part.get("text")
            if text is None:
                return ""
            if isinstance(text, str):
                return text
            raise AnswerFault("the text of a part of content is not a string")
    raise AnswerFault("a part of content is neither a string nor an object")
