"""gateway/models/local/answering.py"""

from __future__ import annotations

from local_world import KeptResponse, front_desk

from audio.formats import AudioFormat
from gateway.models.local.answering import MOST_WAITING, Answers, Unanswered
from gateway.models.local.mind import DialogueMind, Ready, Spoken, Typed
from gateway.models.local.speaking import Made, Sound


class Quick:
    """Makes a sentence's sound at once."""

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        return Made(bytes(2))


def answers(unanswered: Unanswered) -> Answers:
    return Answers(DialogueMind(front_desk()), Quick(), unanswered)


def test_of_too_much_that_nobody_wants_answered_the_oldest_goes() -> None:
    unanswered = Unanswered()
    for number in range(MOST_WAITING + 1):
        unanswered.add(Typed(str(number)))
    taken = unanswered.take()
    assert len(taken) == MOST_WAITING
    assert taken[0] == Typed("1")
    assert unanswered.take() == []


def test_an_answer_waits_until_all_speech_is_made_out() -> None:
    unanswered = Unanswered()
    open_answers = answers(unanswered)
    speech, response = Spoken("item_1"), KeptResponse("resp_1")
    unanswered.add(speech)
    open_answers.ask(response)
    open_answers.go_on(0)
    assert open_answers.due_ms(0) is None
    speech.text, speech.settled = "where are you", True
    open_answers.go_on(20)
    assert response.finished
    assert response.text.startswith("We are at twelve Quay Street")


def test_the_first_of_two_that_wait_answers_all() -> None:
    unanswered = Unanswered()
    open_answers = answers(unanswered)
    unanswered.add(Typed("Where are you?"))
    first, second = KeptResponse("resp_1"), KeptResponse("resp_2")
    open_answers.ask(first)
    open_answers.ask(second)
    open_answers.go_on(0)
    assert first.text.startswith("We are at twelve Quay Street")
    assert second.text == front_desk().texts.more


def test_an_answer_that_was_stopped_is_never_made() -> None:
    open_answers = answers(Unanswered())
    asked, begun = KeptResponse("resp_1"), KeptResponse("resp_2")
    open_answers.ask(asked)
    open_answers.begin(begun, Ready("Hello.", None), 0)
    open_answers.stop("resp_1")
    open_answers.stop("resp_2")
    open_answers.stop("resp_3")
    open_answers.go_on(0)
    assert not asked.text
    assert not begun.text


def test_after_the_call_nothing_is_answered() -> None:
    open_answers = answers(Unanswered())
    asked, begun = KeptResponse("resp_1"), KeptResponse("resp_2")
    open_answers.ask(asked)
    open_answers.begin(begun, Ready("Hello.", None), 0)
    open_answers.close()
    open_answers.go_on(0)
    assert open_answers.due_ms(0) is None
    assert not asked.text
    assert not begun.text
