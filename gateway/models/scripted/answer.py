"""One answer of the scripted model: a sequence of steps, each at a position in the answer's sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from gateway.models.scripted.shape import Script, ScriptedTurn, Trouble
from gateway.models.scripted.sound import recorded, word
from gateway.realtime.response_events import usage_object
from gateway.realtime.server.brain import OpenResponse


@dataclass(frozen=True, slots=True)
class Stage:
    """The callbacks of an answer: the faults that it cannot make itself, and the note of a function call."""

    error: Callable[[str, str], None]  # send an error event with this code and message
    drop: Callable[[], None]  # cut the connection
    stall: Callable[[str], None]  # stop the answer of this response id without ending it
    called: Callable[[str, str], None]  # note a function call: its call id and the function's name


@dataclass(frozen=True, slots=True)
class Step:
    """An action that an answer takes when `at_ms` of its sound have been sent."""

    at_ms: int
    act: Callable[[], None]


class Answer:
    """Takes the steps of one answer at the turn's pace."""

    def __init__(self, script: Script, turn: ScriptedTurn, response: OpenResponse, stage: Stage, begin_ms: int) -> None:
        self._script = script
        self._turn = turn
        self._response = response
        self._stage = stage
        self._begin_ms = begin_ms
        self._steps = self._all_steps()
        self._next = next(self._steps, None)

    @property
    def due_ms(self) -> int | None:
        """When the next step is due; None once all steps are taken."""
        if self._next is None or self._response.ended:
            return None
        pace = self._turn.pace
        return self._begin_ms + (0 if pace is None else int(self._next.at_ms / pace))

    def step(self) -> None:
        """Take the next step."""
        step, self._next = self._next, next(self._steps, None)
        if step is not None:
            step.act()

    def _all_steps(self) -> Iterator[Step]:
        troubles = sorted(self._troubles(), key=lambda trouble: trouble.at_ms)
        end_ms = 0
        for step, piece_ms in self._speech():
            while troubles and troubles[0].at_ms <= step.at_ms:
                yield troubles.pop(0)
            yield step
            end_ms = step.at_ms + piece_ms
        for trouble in troubles:
            yield Step(max(trouble.at_ms, end_ms), trouble.act)
        for call in self._turn.calls:
            yield Step(end_ms, partial(self._call, call.name, call.arguments))
        yield Step(end_ms, partial(self._response.finish, usage_object(self._turn.usage)))

    def _troubles(self) -> Iterator[Step]:
        faults, response = self._turn.faults, self._response
        if faults.error is not None:
            yield _trouble(faults.error, self._stage.error)
        if faults.fail is not None:
            yield _trouble(faults.fail, response.fail)
        if faults.drop_ms is not None:
            yield Step(faults.drop_ms, self._stage.drop)
        if faults.stall_ms is not None:
            yield Step(faults.stall_ms, partial(self._stage.stall, response.id))
        if faults.incomplete_ms is not None:
            yield Step(faults.incomplete_ms, partial(response.incomplete, "max_output_tokens"))

    def _speech(self) -> Iterator[tuple[Step, int]]:
        """The steps that say the turn's words, each with the duration of its sound in ms."""
        format, words = self._response.output_format, self._turn.say.split()
        if self._turn.recording is not None:
            sound = recorded(self._turn.recording, format)
            total_ms = format.ms_of(format.samples_in(len(sound)))
        else:
            sound = word(self._script.ms_per_word, format) * len(words)
            total_ms = self._script.ms_per_word * len(words)
        told = 0
        for begin_ms in range(0, max(total_ms, 1), self._script.piece_ms):
            end_ms = min(begin_ms + self._script.piece_ms, total_ms)
            last = end_ms == total_ms
            # The words that begin within this piece of sound.
            upto = len(words) if last else -(-len(words) * end_ms // total_ms)
            text = "".join(pieces(words)[told:upto])
            told = max(told, upto)
            payload = sound[format.bytes_for_ms(begin_ms) : None if last else format.bytes_for_ms(end_ms)]
            yield Step(begin_ms, partial(self._response.say, text, payload)), end_ms - begin_ms

    def _call(self, name: str, arguments: str) -> None:
        self._stage.called(self._response.call_tool(name, arguments), name)


def _trouble(trouble: Trouble, act: Callable[[str, str], None]) -> Step:
    return Step(trouble.after_ms, partial(act, trouble.code, trouble.message))


def pieces(words: list[str]) -> list[str]:
    """Words as the deltas of a text: each word but the first has a space in front of it."""
    return [word if at == 0 else " " + word for at, word in enumerate(words)]
