"""gateway/models/local/answering.py"""

from __future__ import annotations

from support.local.local_world import RecordedResponse, front_desk

from audio.formats import AudioFormat
from gateway.models.local.answering import MOST_WAITING, Answers, UnansweredInputs
from gateway.models.local.dialogue.answerer import DialogueAnswerer, ReadyAnswer, Spoken, Typed
from gateway.models.local.speech.text_to_speech import ReadySound, Sound


class Quick:
    """Text to speech that is done at once."""

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        return ReadySound(bytes(2))


def answers(unanswered: UnansweredInputs) -> Answers:
    return Answers(DialogueAnswerer(front_desk()), Quick(), unanswered)


def test_past_the_bound_the_oldest_unanswered_input_is_dropped() -> None:
    unanswered = UnansweredInputs()
    for number in range(MOST_WAITING + 1):
        unanswered.add(Typed(str(number)))
    taken = unanswered.take()
    assert len(taken) == MOST_WAITING
    assert taken[0] == Typed("1")
    assert unanswered.take() == []


def test_an_answer_waits_until_all_speech_is_recognised() -> None:
    unanswered = UnansweredInputs()
    open_answers = answers(unanswered)
    speech, response = Spoken("item_1"), RecordedResponse("resp_1")
    unanswered.add(speech)
    open_answers.request(response)
    open_answers.advance(0)
    assert open_answers.due_ms(0) is None
    speech.text, speech.settled = "where are you", True
    open_answers.advance(20)
    assert response.finished
    assert response.text.startswith("We are at twelve Quay Street")


def test_the_first_of_two_waiting_requests_answers_all_inputs() -> None:
    unanswered = UnansweredInputs()
    open_answers = answers(unanswered)
    unanswered.add(Typed("Where are you?"))
    first, second = RecordedResponse("resp_1"), RecordedResponse("resp_2")
    open_answers.request(first)
    open_answers.request(second)
    open_answers.advance(0)
    assert first.text.startswith("We are at twelve Quay Street")
    assert second.text == front_desk().texts.more


def test_a_stopped_answer_is_never_generated() -> None:
    open_answers = answers(UnansweredInputs())
    requested, begun = RecordedResponse("resp_1"), RecordedResponse("resp_2")
    open_answers.request(requested)
    open_answers.begin(begun, ReadyAnswer("Hello.", None), 0)
    open_answers.stop("resp_1")
    open_answers.stop("resp_2")
    open_answers.stop("resp_3")
    open_answers.advance(0)
    assert not requested.text
    assert not begun.text


def test_after_the_call_nothing_is_answered() -> None:
    open_answers = answers(UnansweredInputs())
    requested, begun = RecordedResponse("resp_1"), RecordedResponse("resp_2")
    open_answers.request(requested)
    open_answers.begin(begun, ReadyAnswer("Hello.", None), 0)
    open_answers.close()
    open_answers.advance(0)
    assert open_answers.due_ms(0) is None
    assert not requested.text
    assert not begun.text
