"""A conversation in the form of the chat API's messages.

Source: OpenAI API reference, chat completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.models.local.arguments import object_of
from gateway.models.local.dialogue.answerer import Input, Picture, Spoken, ToolOutput, Typed

UNHEARD = "(something that could not be made out)"
NOT_YET = "The tool has not answered yet."
UNINSTRUCTED = "You are a voice assistant. Answer in short sentences."
MOST_MESSAGES = 80  # past this the oldest are dropped

Message = dict[str, Any]


class Conversation:
    """Keeps both sides' messages, the tool calls and their outputs, and writes them as a chat request."""

    def __init__(self) -> None:
        self.instructions = ""
        self._messages: list[Message] = []
        self._outputs: dict[str, str] = {}  # by call id

    def add(self, inputs: Sequence[Input]) -> None:
        """Append the caller's inputs."""
        self._messages += filter(None, map(self._message, inputs))
        del self._messages[:-MOST_MESSAGES]

    def said(self, text: str) -> Message:
        """Append an agent's message. Returns it: its `content` may be extended while the answer is streamed."""
        message: Message = {"role": "assistant", "content": text}
        self._messages.append(message)
        return message

    def turn_to_agent(self) -> None:
        """Make sure that the last message is the agent's, so that a tool call can be added to it."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self.said("")

    def called(self, call_id: str, tool: str, arguments: str) -> None:
        """Add a tool call to the agent's last message. `arguments` is a JSON text.

        A model may write arguments that are not an object. They are replaced by an empty object, because many
        endpoints refuse every later request whose history contains what they have written themselves.
        """
        answer = next((message for message in reversed(self._messages) if message["role"] == "assistant"), None)
        if answer is not None:
            sent = arguments if object_of(arguments) is not None else "{}"
            call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": sent}}
            answer.setdefault("tool_calls", []).append(call)

    def request(self) -> list[Message]:
        """The messages as the API requires them: each tool call is followed by its output, or by `NOT_YET`."""
        messages = [self._system()]
        for message in self._messages:
            calls = message.get("tool_calls", [])
            if message["content"] or calls:
                messages.append(message)
            for call in calls:
                output = self._outputs.get(call["id"], NOT_YET)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})
        return messages

    def request_out_of_band(self, inputs: Sequence[Input]) -> list[Message]:
        """A request with these inputs alone; they do not become part of the conversation."""
        return [self._system(), *filter(None, map(self._message, inputs))]

    def _system(self) -> Message:
        return {"role": "system", "content": self.instructions or UNINSTRUCTED}

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
