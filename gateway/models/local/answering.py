"""What waits for an answer, and the answers under way."""

from __future__ import annotations

from gateway.models.local.mind import Input, Mind, Spoken, Thought
from gateway.models.local.speaking import Answer, Mouth
from gateway.realtime.brain import OpenResponse

MOST_WAITING = 200  # inputs of a client that never asks for an answer; the oldest go


class Unanswered:
    """What came from the caller since the last answer, in order."""

    def __init__(self) -> None:
        self._inputs: list[Input] = []

    def add(self, entry: Input) -> None:
        """This came."""
        self._inputs.append(entry)
        del self._inputs[:-MOST_WAITING]

    @property
    def settled(self) -> bool:
        """Whether all speech in it has been made out."""
        return all(entry.settled for entry in self._inputs if isinstance(entry, Spoken))

    def take(self) -> list[Input]:
        """All of it; it counts as answered."""
        inputs, self._inputs = self._inputs, []
        return inputs


class Answers:
    """One call's: those asked for, each of which waits for the ears, and those being thought of and spoken."""

    def __init__(self, mind: Mind, mouth: Mouth, unanswered: Unanswered) -> None:
        self._mind = mind
        self._mouth = mouth
        self._unanswered = unanswered
        self._asked: list[OpenResponse] = []
        self._under_way: dict[str, Answer] = {}

    def ask(self, response: OpenResponse) -> None:
        """Answer what came from the caller, once that is settled."""
        self._asked.append(response)

    def begin(self, response: OpenResponse, thought: Thought, now_ms: int) -> None:
        """Answer by this thought."""
        self._under_way[response.id] = Answer(response, thought, self._mouth, now_ms)

    def stop(self, response_id: str) -> None:
        """The answer was cut: the rest of it is never made."""
        self._asked = [response for response in self._asked if response.id != response_id]
        answer = self._under_way.pop(response_id, None)
        if answer is not None:
            answer.drop()

    def due_ms(self, now_ms: int) -> int | None:
        """When to go on with those under way."""
        return min((answer.due_ms(now_ms) for answer in self._under_way.values()), default=None)

    def go_on(self, now_ms: int) -> None:
        """Begin those whose questions are settled, and say what can be said now."""
        if self._asked and self._unanswered.settled:
            asked, self._asked = self._asked, []
            for response in asked:
                self.begin(response, self._mind.answer(self._unanswered.take()), now_ms)
        for response_id, answer in list(self._under_way.items()):
            calls = answer.go_on(now_ms)
            if calls is None or self._under_way.get(response_id) is not answer:
                continue
            del self._under_way[response_id]
            for call in calls:
                self._mind.called(answer.response.call_tool(call.tool, call.arguments), call)
            answer.response.finish()

    def close(self) -> None:
        """The call is over."""
        for answer in self._under_way.values():
            answer.drop()
        self._under_way.clear()
        self._asked.clear()
