"""A mind at an OpenAI-compatible chat endpoint: it is asked with the conversation, and answers sentence by sentence.

Source: OpenAI API reference, chat completions (streaming, tools).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.models.local.conversation import Conversation, Message
from gateway.models.local.endpoints import FIRST_S, Endpoint, Job, Spawn, paced
from gateway.models.local.mind import Input, Thought, WantedCall
from gateway.models.local.rules import OPEN
from gateway.models.local.sentences import split_off
from sessions.ports import Json, JsonObject

APOLOGY = "I am sorry, I cannot answer just now. Please try again in a moment."
MOST_TEXT_CHARS = 8000  # of one answer; a model that does not stop is stopped


class ChatMind:
    """Answers by a chat endpoint, which is given the whole conversation each time."""

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._tools: list[Message] = []
        self._conversation = Conversation()

    @property
    def expects(self) -> str:
        """Anything."""
        return OPEN

    def configured(self, session: JsonObject) -> None:
        """The session's instructions and function tools, as this API writes them."""
        instructions, tools = session.get("instructions"), session.get("tools")
        self._conversation.instructions = instructions if isinstance(instructions, str) else ""
        self._tools = [_tool(tool) for tool in (tools if isinstance(tools, list) else []) if isinstance(tool, Mapping)]

    def answer(self, inputs: Sequence[Input]) -> Thought:
        """Ask the endpoint, with all that was said."""
        self._conversation.add(inputs)
        request = self._conversation.request()
        answer = self._conversation.said("")
        return ChatThought(self._endpoint, self._client, self._spawn, request, self._tools, answer)

    def answer_apart(self, inputs: Sequence[Input]) -> Thought:
        """Ask the endpoint about these alone."""
        request = self._conversation.request_apart(inputs)
        return ChatThought(self._endpoint, self._client, self._spawn, request, [], {})

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """Part of the conversation."""
        self._conversation.add(inputs)
        if agent_text:
            self._conversation.said(agent_text)

    def said(self, text: str) -> None:
        """Part of the conversation."""
        self._conversation.said(text)

    def called(self, call_id: str, call: WantedCall) -> None:
        """The answer that wanted it gets the call under its id."""
        self._conversation.called(call_id, call.tool, call.arguments)

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """Part of the conversation."""
        self._conversation.turn_to_agent()
        self._conversation.called(call_id, tool, arguments)


class ChatThought(Job):
    """One answer of the endpoint. `answer` is filled with its text as it comes."""

    def __init__(
        self,
        endpoint: Endpoint,
        client: Any,
        spawn: Spawn,
        messages: list[Message],
        tools: list[Message],
        answer: Message,
    ) -> None:
        super().__init__(spawn, "chat")
        self._answer = answer
        self._rest = ""
        self._calls: dict[int, list[str]] = {}  # name and arguments, by the API's index
        self.start(self._ask(endpoint, client, messages, tools))

    def take(self) -> list[str]:
        """Whole sentences; at the end, what is left, or an apology."""
        sentences, self._rest = split_off(self._rest)
        if self.done and self._rest.strip():
            sentences.append(self._rest.strip())
            self._rest = ""
        if self.failed:
            self.failed = False
            sentences.append(APOLOGY)
        return sentences

    def calls(self) -> list[WantedCall]:
        """In the order in which they were asked for."""
        return [WantedCall(name, arguments or "{}", None) for name, arguments in self._calls.values() if name]

    async def _ask(self, endpoint: Endpoint, client: Any, messages: list[Message], tools: list[Message]) -> None:
        asked: dict[str, Any] = {"model": endpoint.model, "messages": messages, "stream": True}
        if tools:
            asked["tools"] = tools
        async with asyncio.timeout(FIRST_S):
            stream = await client.chat.completions.create(**asked)
        written = 0
        try:
            async for piece in paced(aiter(stream)):
                delta = piece.choices[0].delta if piece.choices else None
                if delta is None:
                    continue
                self._rest += delta.content or ""
                written += len(delta.content or "")
                self._answer["content"] = self._answer.get("content", "") + (delta.content or "")
                for call in delta.tool_calls or ():
                    self._take_call(call)
                if written > MOST_TEXT_CHARS:
                    break
        finally:
            await stream.close()

    def _take_call(self, call: Any) -> None:
        name_and_arguments = self._calls.setdefault(call.index or 0, ["", ""])
        if call.function is not None:
            name_and_arguments[0] += call.function.name or ""
            name_and_arguments[1] += call.function.arguments or ""


def _tool(tool: Mapping[str, Json]) -> Message:
    function = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
    return {"type": "function", "function": function}
