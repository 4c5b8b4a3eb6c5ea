"""A chat endpoint's answer, whole or in deltas, read field by field: text to be spoken and tool calls come out.

This is the one place that looks into what a chat endpoint sends. Whatever JSON comes in, what goes on is text without
lone surrogates, and calls whose names and arguments are texts. For anything else AnswerFault is raised, which costs
that answer. What a model thinks (`reasoning_content`, parts of the type `thinking`, `<think>`) and its `refusal` are
not text to be spoken.
Source: OpenAI API reference, chat completions (streaming); what compatible services are known to send instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.mind import WantedCall
from gateway.models.local.thinking import WithoutThinking
from gateway.models.local.wanted_calls import WantedCalls
from sessions.ports import Json
from sessions.text import well_formed

MOST_TEXT_CHARS = 8000  # of one answer; a model that does not stop is stopped
TEXT_PARTS = (None, "text", "output_text")
CUT_REASONS = ("length", "content_filter", "max_tokens")


class ChatReader:
    """Reads one answer."""

    def __init__(self, tools: Collection[str] = ()) -> None:
        """`tools`: the names that the model was given."""
        self._calls = WantedCalls(tools)
        self._thinking = WithoutThinking()
        self._half = ""  # the first half of a surrogate pair, whose second half is in the next delta
        self.unsaid = ""  # text that has not been taken yet
        self.text = ""  # all of it
        self.worded = False  # whether there is a word in it
        self.refused = False
        self.finish_reason: str | None = None

    @property
    def full(self) -> bool:
        """Whether the text is as long as an answer may be."""
        return len(self.text) >= MOST_TEXT_CHARS

    def read(self, text: str) -> None:
        """Take one event's data, or a whole body. Raises AnswerFault."""
        try:
            chunk = json.loads(text)  # orjson refuses half an emoji, which its other half may follow
        except (ValueError, RecursionError):
            raise AnswerFault("it is not JSON") from None
        self.take(chunk)

    def take(self, chunk: Json) -> None:
        """Take one chunk. Raises AnswerFault."""
        if not isinstance(chunk, dict):
            raise AnswerFault("it is not an object")
        if chunk.get("error"):
            raise AnswerFault("it is an error of the endpoint")
        choices = chunk.get("choices")
        if choices is None:
            return
        if not isinstance(choices, list):
            raise AnswerFault("choices is not a list")
        for choice in choices:
            if isinstance(choice, dict):
                if choice.get("index") in (None, 0):  # one was asked for
                    self._take_choice(choice)
            elif choice is not None:
                raise AnswerFault("a choice is not an object")

    def end(self) -> None:
        """Nothing more comes."""
        half, self._half = self._half, ""
        if half:
            self._say(*self._thinking.feed(well_formed(half)))
        self._say(False, self._thinking.end())

    def wanted(self) -> list[WantedCall]:
        """The calls, once nothing more comes."""
        return self._calls.wanted(cut=self.finish_reason is None or self.finish_reason in CUT_REASONS)

    def _take_choice(self, choice: dict[str, Json]) -> None:
        delta = choice.get("delta")
        if delta is None:
            delta = choice.get("message")  # of an endpoint that does not stream
        if isinstance(delta, dict):
            self._take_text(_text_of(delta.get("content")))
            self._calls.take(delta.get("tool_calls"))
            self._calls.take(delta.get("function_call"))  # of an older form of the API
            self.refused = self.refused or bool(delta.get("refusal"))
        elif delta is not None:
            raise AnswerFault("a delta is not an object")
        reason = choice.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            raise AnswerFault("finish_reason is not a text")
        if reason == "error":
            raise AnswerFault("it is an error of the endpoint")
        self.finish_reason = reason or self.finish_reason

    def _take_text(self, text: str) -> None:
        text = self._half + text
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        text = well_formed(text[: len(text) - len(self._half)]).replace("\0", "")
        if text:
            self._say(*self._thinking.feed(text))

    def _say(self, taken_back: bool, text: str) -> None:
        if taken_back:
            # What has been spoken cannot be taken back, but it is no part of what was said either.
            self.unsaid = self.text = ""
            self.worded = False
        text = text[: MOST_TEXT_CHARS - len(self.text)]
        self.unsaid += text
        self.text += text
        self.worded = self.worded or any(map(str.isalnum, text))


def _text_of(content: Json) -> str:
    """The text of a message's `content`, as a text or in parts; parts of other kinds are left out."""
    match content:
        case None:
            return ""
        case str():
            return content
        case list():
            return "".join(_part_of(part) for part in content)
        case dict():
            return _part_of(content)
    raise AnswerFault("content is neither a text nor a list of parts")


def _part_of(part: Json) -> str:
    match part:
        case None:
            return ""
        case str():
            return part
        case dict():
            kind = part.get("type")
            if kind is not None and not isinstance(kind, str):
                raise AnswerFault("the type of a part of content is not a text")
            if kind not in TEXT_PARTS:
                return ""
            text = part.get("text")
            if text is None:
                return ""
            if isinstance(text, str):
                return text
            raise AnswerFault("the text of a part of content is not a text")
    raise AnswerFault("a part of content is neither a text nor an object")
