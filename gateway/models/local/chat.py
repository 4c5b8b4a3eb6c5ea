"""A mind at an OpenAI-compatible chat endpoint: it is asked with the conversation, and answers sentence by sentence.

Source: OpenAI API reference, chat completions (streaming, tools).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.clock import loop_s
from gateway.guard import Boundary
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.chat_reader import ChatReader
from gateway.models.local.conversation import Conversation, Message
from gateway.models.local.endpoints import FIRST_S, GAP_S, Endpoint, Job, Spawn
from gateway.models.local.event_stream import MOST_EVENT_BYTES, Event, EventStream
from gateway.models.local.mind import Input, Thought, WantedCall
from gateway.models.local.rules import OPEN
from gateway.models.local.sentences import split_off
from sessions.ports import Json, JsonObject

APOLOGY = "I am sorry, I cannot answer just now. Please try again in a moment."
FIRST_WORD_S = 30.0  # of a model that thinks first
LAST_S = 1.0  # for what comes behind an answer's end
MOST_STREAM_BYTES = 8 * 1024 * 1024  # of one answer, with what the model thinks
EVENTS_AT_ONCE = 32
DONE = "[DONE]"


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
        super().__init__(spawn, "chat", endpoint)
        self._answer = answer
        self._reader = ChatReader([tool["function"].get("name", "") for tool in tools])
        self._apologised = False
        self._complete = False  # the endpoint has said that the answer is at its end
        self.start(lambda: self._ask(endpoint, client, messages, tools))

    def take(self) -> list[str]:
        """Whole sentences; at the end, what is left, or an apology."""
        reader = self._reader
        sentences: list[str] = []
        if reader.worded:  # until then it is nothing that can be spoken
            sentences, reader.unsaid = split_off(reader.unsaid)
        if self.over and reader.worded and reader.unsaid.strip():
            sentences.append(reader.unsaid.strip())
            reader.unsaid = ""
        if self.failed and not self._apologised:
            self._apologised = True
            sentences.append(APOLOGY)
        return sentences

    def calls(self) -> list[WantedCall]:
        """In the order in which they were asked for; none of an answer that failed."""
        return [] if self.failed else self._reader.wanted()

    async def _ask(self, endpoint: Endpoint, client: Any, messages: list[Message], tools: list[Message]) -> None:
        # Handed over as it is sent: the SDK walks through its own arguments, which takes the loop 13 ms of 80 messages.
        body = {"messages": messages, "tools": tools} if tools else {"messages": messages}
        asked: dict[str, Any] = {"model": endpoint.model, "messages": [], "stream": True, "extra_body": body}
        try:
            with Boundary(self._unless_complete):
                async with (
                    asyncio.timeout(FIRST_S) as limit,
                    client.chat.completions.with_streaming_response.create(**asked) as answer,
                ):
                    self.came(answer)
                    await self._read(answer, limit)
        finally:
            self._reader.end()
            self._keep()
        if not self._reader.worded and not self._reader.wanted():
            raise AnswerFault("the model refused" if self._reader.refused else "it holds no word to be spoken")

    def _unless_complete(self, fault: BaseException) -> None:
        """What breaks behind the end of an answer, such as a connection that is kept open, costs nothing."""
        if not self._complete:
            raise fault

    async def _read(self, answer: Any, limit: asyncio.Timeout) -> None:
        first_word_s = loop_s() + FIRST_WORD_S
        stream, body, read_bytes, events_read = EventStream(), b"", 0, 0
        async for piece in answer.iter_bytes():
            read_bytes += len(piece)
            if read_bytes > MOST_STREAM_BYTES:
                raise AnswerFault("the answer has more bytes than are read")
            if body or (read_bytes == len(piece) and _is_whole(piece)):
                body += piece
                if len(body) > MOST_EVENT_BYTES:
                    raise AnswerFault("the answer has more bytes than are read")
                continue
            for event in stream.feed(piece):
                self._take(event)
                if self._complete and event.data.startswith(DONE):
                    return
                events_read += 1
                if events_read % EVENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # many may be here at once
                due_s = loop_s() + (LAST_S if self._complete else GAP_S)
                limit.reschedule(due_s if self._reader.worded else min(due_s, first_word_s))
            if self._reader.full:
                self._complete = True
                return
        if body:
            self._reader.read(body.decode(errors="replace"))
        for event in stream.end():
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.data.startswith(DONE):
            self._complete = True
            return
        if event.kind == "error":
            raise AnswerFault("it is an error of the endpoint")
        self._reader.read(event.data)
        self._complete = self._complete or self._reader.finish_reason is not None
        self._keep()

    def _keep(self) -> None:
        self._answer["content"] = self._reader.text


def _is_whole(piece: bytes) -> bool:
    """Whether the answer that begins so is one JSON body: the endpoint does not stream."""
    return piece.lstrip()[:1] in (b"{", b"[")


def _tool(tool: Mapping[str, Json]) -> Message:
    function = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
    return {"type": "function", "function": function}
