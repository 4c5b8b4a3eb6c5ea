"""A conversation as the messages of the chat API.

Source: OpenAI API reference, chat completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.models.local.arguments import object_of
from gateway.models.local.mind import Input, Picture, Spoken, ToolOutput, Typed

UNHEARD = "(something that could not be made out)"
NOT_YET = "The tool has not answered yet."
UNINSTRUCTED = "You are a voice assistant. Answer in short sentences."
MOST_MESSAGES = 80  # the oldest go

Message = dict[str, Any]


class Conversation:
    """All that was said by both sides, tools called and their outputs, ready to be sent."""

    def __init__(self) -> None:
        self.instructions = ""
        self._messages: list[Message] = []
        self._outputs: dict[str, str] = {}  # by the call's id

    def add(self, inputs: Sequence[Input]) -> None:
        """These came from the caller."""
        self._messages += filter(None, map(self._message, inputs))
        del self._messages[:-MOST_MESSAGES]

    def said(self, text: str) -> Message:
        """The agent says this. Returns the message, whose `content` may still grow."""
        message: Message = {"role": "assistant", "content": text}
        self._messages.append(message)
        return message

    def turn_to_agent(self) -> None:
        """What comes next is the agent's, also where nothing was said before it."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self.said("")

    def called(self, call_id: str, tool: str, arguments: str) -> None:
        """The agent's last message called this tool. `arguments` is a JSON text.

        Arguments that are no object, which a model may write, go back as an empty one: many endpoints refuse every
        later request over what they have written themselves.
        """
        answer = next((message for message in reversed(self._messages) if message["role"] == "assistant"), None)
        if answer is not None:
            told = arguments if object_of(arguments) is not None else "{}"
            call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": told}}
            answer.setdefault("tool_calls", []).append(call)

    def request(self) -> list[Message]:
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

    def request_apart(self, inputs: Sequence[Input]) -> list[Message]:
        """Messages of these inputs alone, which do not become part of the conversation."""
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
