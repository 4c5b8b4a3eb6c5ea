"""Answers from an OpenAI-compatible chat endpoint: it gets the whole conversation and streams its answer.

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
from gateway.models.local.dialogue.answerer import Answer, Input, RequestedCall
from gateway.models.local.dialogue.rules import OPEN
from gateway.models.local.endpoints import FIRST_S, GAP_S, Endpoint, Job, Spawn
from gateway.models.local.event_stream import MOST_EVENT_BYTES, Event, EventStream
from gateway.models.local.speech.sentences import split_off
from sessions.ports import Json, JsonObject

APOLOGY = "I am sorry, I cannot answer just now. Please try again in a moment."
FIRST_WORD_S = 30.0  # the longest wait for the first word; a reasoning model writes its thinking first
LAST_S = 1.0  # the longest wait for events behind the end of the answer
MOST_STREAM_BYTES = 8 * 1024 * 1024  # of one answer, the model's thinking included
EVENTS_AT_ONCE = 32  # events that are read before other tasks may run
DONE = "[DONE]"


class ChatAnswerer:
    """Answers through a chat endpoint; each request contains the whole conversation."""

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._tools: list[Message] = []
        self._conversation = Conversation()

    @property
    def state(self) -> str:
        """The open state: a chat endpoint expects no particular answer."""
        return OPEN

    def configured(self, session: JsonObject) -> None:
        """Take over the session's instructions and function tools, in the form of this API."""
        instructions, tools = session.get("instructions"), session.get("tools")
        self._conversation.instructions = instructions if isinstance(instructions, str) else ""
        self._tools = [_tool(tool) for tool in (tools if isinstance(tools, list) else []) if isinstance(tool, Mapping)]

    def answer(self, inputs: Sequence[Input]) -> Answer:
        """Send the conversation with these inputs."""
        self._conversation.add(inputs)
        request = self._conversation.request()
        answer = self._conversation.said("")
        return ChatAnswer(self._endpoint, self._client, self._spawn, request, self._tools, answer)

    def answer_out_of_band(self, inputs: Sequence[Input]) -> Answer:
        """Send these inputs alone, without the conversation and without tools."""
        request = self._conversation.request_out_of_band(inputs)
        return ChatAnswer(self._endpoint, self._client, self._spawn, request, [], {})

    def past(self, inputs: Sequence[Input], agent_text: str) -> None:
        """Add history to the conversation."""
        self._conversation.add(inputs)
        if agent_text:
            self._conversation.said(agent_text)

    def said(self, text: str) -> None:
        """Add a message of the agent's to the conversation."""
        self._conversation.said(text)

    def called(self, call_id: str, call: RequestedCall) -> None:
        """Add the call with its id to the answer that requested it."""
        self._conversation.called(call_id, call.tool, call.arguments)

    def past_call(self, call_id: str, tool: str, arguments: str) -> None:
        """Add an earlier call to the conversation."""
        self._conversation.turn_to_agent()
        self._conversation.called(call_id, tool, arguments)


class ChatAnswer(Job):
    """One answer of the endpoint. The content of the message `answer` grows as the text arrives."""

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
        self._complete = False  # the endpoint has reported the end of the answer
        self.start(lambda: self._ask(endpoint, client, messages, tools))

    def take(self) -> list[str]:
        """The new complete sentences; at the end also the rest of the text, and an apology if the job failed."""
        reader = self._reader
        sentences: list[str] = []
        if reader.has_words:  # text without a word cannot be spoken
            sentences, reader.unspoken = split_off(reader.unspoken)
        if self.over and reader.has_words and reader.unspoken.strip():
            sentences.append(reader.unspoken.strip())
            reader.unspoken = ""
        if self.failed and not self._apologised:
            self._apologised = True
            sentences.append(APOLOGY)
        return sentences

    def calls(self) -> list[RequestedCall]:
        """The requested calls in their order; none where the answer failed."""
        return [] if self.failed else self._reader.requested()

    async def _ask(self, endpoint: Endpoint, client: Any, messages: list[Message], tools: list[Message]) -> None:
        # The messages go into `extra_body`, because the SDK walks through its regular arguments: for 80 messages that
        # would hold the loop for 13 ms.
        body = {"messages": messages, "tools": tools} if tools else {"messages": messages}
        request: dict[str, Any] = {"model": endpoint.model, "messages": [], "stream": True, "extra_body": body}
        try:
            with Boundary(self._unless_complete):
                async with (
                    asyncio.timeout(FIRST_S) as limit,
                    client.chat.completions.with_streaming_response.create(**request) as answer,
                ):
                    self.check_head(answer)
                    await self._read(answer, limit)
        finally:
            self._reader.end()
            self._keep()
        if not self._reader.has_words and not self._reader.requested():
            raise AnswerFault("the model refused" if self._reader.refused else "the answer has no word to speak")

    def _unless_complete(self, fault: BaseException) -> None:
        """Ignore a fault after the end of the answer, such as a connection that the endpoint keeps open."""
        if not self._complete:
            raise fault

    async def _read(self, answer: Any, limit: asyncio.Timeout) -> None:
        first_word_s = loop_s() + FIRST_WORD_S
        stream, body, read_bytes, events_read = EventStream(), b"", 0, 0
        async for piece in answer.iter_bytes():
            read_bytes += len(piece)
            if read_bytes > MOST_STREAM_BYTES:
                raise AnswerFault("the answer is longer than the limit")
            if body or (read_bytes == len(piece) and _is_whole(piece)):
                body += piece
                if len(body) > MOST_EVENT_BYTES:
                    raise AnswerFault("the answer is longer than the limit")
                continue
            for event in stream.feed(piece):
                self._take(event)
                if self._complete and event.data.startswith(DONE):
                    return
                events_read += 1
                if events_read % EVENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # many events may have arrived at once: let other tasks run
                due_s = loop_s() + (LAST_S if self._complete else GAP_S)
                limit.reschedule(due_s if self._reader.has_words else min(due_s, first_word_s))
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
            raise AnswerFault("the endpoint reported an error")
        self._reader.read(event.data)
        self._complete = self._complete or self._reader.finish_reason is not None
        self._keep()

    def _keep(self) -> None:
        self._answer["content"] = self._reader.text


def _is_whole(piece: bytes) -> bool:
    """Whether an answer that begins with this piece is one JSON body, because the endpoint does not stream."""
    return piece.lstrip()[:1] in (b"{", b"[")


def _tool(tool: Mapping[str, Json]) -> Message:
    function = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
    return {"type": "function", "function": function}
