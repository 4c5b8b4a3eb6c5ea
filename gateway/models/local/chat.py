"""A mind at an OpenAI-compatible chat endpoint: the conversation as messages, the answer sentence by sentence.

Source: OpenAI API reference, chat completions (streaming, tools).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.models.local.endpoints import FIRST_S, Endpoint, Job, Spawn, paced
from gateway.models.local.mind import Input, Picture, Spoken, Thought, ToolOutput, Typed, WantedCall
from gateway.models.local.rules import OPEN
from gateway.models.local.sentences import split_off
from sessions.ports import Json, JsonObject

APOLOGY = "I am sorry, I cannot answer just now. Please try again in a moment."
UNHEARD = "(something that could not be made out)"
NOT_YET = "The tool has not answered yet."
MOST_MESSAGES = 80
MOST_TEXT_CHARS = 8000  # of one answer; a model that does not stop is stopped

Message = dict[str, Any]


class ChatMind:
    """Answers by a chat endpoint; the conversation is kept here."""

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._instructions = ""
        self._tools: list[Message] = []
        self._messages: list[Message] = []
        self._outputs: dict[str, str] = {}

    @property
    def expects(self) -> str:
        """Anything."""
        return OPEN

    def configured(self, session: JsonObject) -> None:
        """The session's instructions and function tools, as this API writes them."""
        instructions, tools = session.get("instructions"), session.get("tools")
        self._instructions = instructions if isinstance(instructions, str) else ""
        self._tools = [_tool(tool) for tool in (tools if isinstance(tools, list) else []) if isinstance(tool, Mapping)]

    def answer(self, inputs: Sequence[Input]) -> Thought:
        """Ask the endpoint, with all that was said."""
        self._add(inputs)
        answer: Message = {"role": "assistant", "content": ""}
        thought = ChatThought(self._endpoint, self._client, self._spawn, self._request(), self._tools, answer)
        self._messages.append(answer)
        return thought

    def answer_apart(self, inputs: Sequence[Input]) -> Thought:
        """Ask the endpoint about these alone."""
        messages = [self._system(), *filter(None, map(self._message, inputs))]
        return ChatThought(self._endpoint, self._client, self._spawn, messages, [], {})

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """Part of the conversation."""
        self._add(inputs)
        if agent_text:
            self.said(agent_text)

    def said(self, text: str) -> None:
        """Part of the conversation."""
        self._messages.append({"role": "assistant", "content": text})

    def called(self, call_id: str, call: WantedCall) -> None:
        """The answer that wanted it gets the call under its id."""
        self._note_call(call_id, call.tool, call.arguments)

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """Part of the conversation."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self.said("")
        self._note_call(call_id, tool, arguments)

    def _note_call(self, call_id: str, tool: str, arguments: str) -> None:
        answer = next((message for message in reversed(self._messages) if message["role"] == "assistant"), None)
        if answer is not None:
            call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": arguments}}
            answer.setdefault("tool_calls", []).append(call)

    def _add(self, inputs: Sequence[Input]) -> None:
        for entry in inputs:
            message = self._message(entry)
            if message is not None:
                self._messages.append(message)
        del self._messages[:-MOST_MESSAGES]

    def _message(self, entry: Input) -> Message | None:
        match entry:
            case Spoken():
                return {"role": "user", "content": entry.text or UNHEARD}
            case Typed(text):
                return {"role": "user", "content": text}
            case Picture(url):
                return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
            case ToolOutput(call_id, output):
                self._outputs[call_id] = output
                return None

    def _system(self) -> Message:
        return {
            "role": "system",
            "content": self._instructions or "You are a voice assistant. Answer in short sentences.",
        }

    def _request(self) -> list[Message]:
        """The messages as the API wants them: each call is followed by its result, or a word that there is none."""
        messages = [self._system()]
        for message in self._messages:
            calls = message.get("tool_calls", [])
            if message["content"] or calls:
                messages.append(message)
            for call in calls:
                output = self._outputs.get(call["id"], NOT_YET)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})
        return messages


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
