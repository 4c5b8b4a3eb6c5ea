"""The caller's inputs that have no answer yet, and the answers in progress."""

from __future__ import annotations

from gateway.models.local.dialogue.answerer import Answer, Answerer, Input, Spoken
from gateway.models.local.speech.text_to_speech import SpokenAnswer, TextToSpeech
from gateway.realtime.server.brain import OpenResponse

MOST_WAITING = 200  # inputs; a client may never ask for an answer, and then the oldest inputs are dropped


class UnansweredInputs:
    """The caller's inputs since the last answer, in order."""

    def __init__(self) -> None:
        self._inputs: list[Input] = []

    def add(self, entry: Input) -> None:
        """Append an input; past `MOST_WAITING` the oldest is dropped."""
        self._inputs.append(entry)
        del self._inputs[:-MOST_WAITING]

    @property
    def settled(self) -> bool:
        """Whether all speech among the inputs has been recognised."""
        return all(entry.settled for entry in self._inputs if isinstance(entry, Spoken))

    def take(self) -> list[Input]:
        """Remove and return all inputs: the caller of this method answers them."""
        inputs, self._inputs = self._inputs, []
        return inputs


class Answers:
    """One call's answers: those requested, which wait for the recognition of speech, and those in progress."""

    def __init__(self, answerer: Answerer, text_to_speech: TextToSpeech, unanswered: UnansweredInputs) -> None:
        self._answerer = answerer
        self._text_to_speech = text_to_speech
        self._unanswered = unanswered
        self._requested: list[OpenResponse] = []
        self._in_progress: dict[str, SpokenAnswer] = {}

    def request(self, response: OpenResponse) -> None:
        """Answer the unanswered inputs, once all speech among them is recognised."""
        self._requested.append(response)

    def begin(self, response: OpenResponse, answer: Answer, now_ms: int) -> None:
        """Speak (or write) `answer` as this response."""
        self._in_progress[response.id] = SpokenAnswer(response, answer, self._text_to_speech, now_ms)

    def stop(self, response_id: str) -> None:
        """Cancel a response that was cancelled or interrupted: the rest of it is not generated."""
        self._requested = [response for response in self._requested if response.id != response_id]
        answer = self._in_progress.pop(response_id, None)
        if answer is not None:
            answer.drop()

    def due_ms(self, now_ms: int) -> int | None:
        """When `advance` is to be called next; None: nothing is in progress."""
        return min((answer.due_ms(now_ms) for answer in self._in_progress.values()), default=None)

    def advance(self, now_ms: int) -> None:
        """Begin the requested answers if all speech is recognised, and emit what is ready of those in progress."""
        if self._requested and self._unanswered.settled:
            requested, self._requested = self._requested, []
            for response in requested:
                self.begin(response, self._answerer.answer(self._unanswered.take()), now_ms)
        for response_id, answer in list(self._in_progress.items()):
            calls = answer.advance(now_ms)
            if calls is None or self._in_progress.get(response_id) is not answer:
                continue
            del self._in_progress[response_id]
            for call in calls:
                self._answerer.called(answer.response.call_tool(call.tool, call.arguments), call)
            answer.response.finish()

    def close(self) -> None:
        """The call has ended: cancel all answers."""
        for answer in self._in_progress.values():
            answer.drop()
        self._in_progress.clear()
        self._requested.clear()
