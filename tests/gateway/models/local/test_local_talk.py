"""gateway/models/local/talk.py, arrangement.py and results.py, by the demo agent's dialogue"""

from __future__ import annotations

import json

import pytest
from local_world import front_desk

from gateway.models.local.moves import Move
from gateway.models.local.results import read_result
from gateway.models.local.rules import CONFIRM, OPEN
from gateway.models.local.talk import Talk


def said(talk: Talk, *lines: str) -> Move:
    for line in lines:
        move = talk.written(line)
    return move


def arguments(move: Move) -> dict[str, object]:
    assert move.call is not None
    read = json.loads(move.call.arguments)
    assert isinstance(read, dict)
    return read


def test_a_table_is_booked_turn_by_turn() -> None:
    talk = Talk(front_desk())
    assert talk.spoken("i'd like to book a table").say == "For how many people?"
    assert talk.spoken("for two people").say == "For what day?"
    assert talk.spoken("tomorrow").say == "At what time?"
    assert talk.spoken("half past seven").say == "Under what name?"
    move = talk.spoken("my name is parker")
    assert move.say == "A table for two, tomorrow at 7:30 PM, under Parker. Shall I book it?"
    move = talk.spoken("yes please")
    assert move.call is not None
    assert move.call.tool == "book_table"
    assert arguments(move) == {"date": "tomorrow", "time": "19:30", "party_size": 2, "name": "Parker"}
    talk.called("call_1", move.call)
    move = talk.tool_answered("call_1", '{"sentence": "Booked.", "booking_id": 3}')
    assert move.say == "Booked. We look forward to seeing you."
    assert talk.state == OPEN


def test_all_in_one_sentence_leaves_only_the_name_to_ask() -> None:
    talk = Talk(front_desk())
    assert said(talk, "Hi, I would like to book a table for 4 on Friday at 8pm, please").say == "Under what name?"
    assert "for four, on Friday at 8 PM, under Smith" in said(talk, "Smith").say


def test_a_typed_name_may_be_any() -> None:
    talk = Talk(front_desk())
    said(talk, "book a table for two tomorrow at seven")
    assert "under Kowalski" in said(talk, "My name is Kowalski.").say


def test_a_long_remark_is_not_a_name() -> None:
    talk = Talk(front_desk())
    said(talk, "book a table for two tomorrow at seven")
    assert said(talk, "the weather is really fine").say.startswith("Sorry, I did not get that. Under what name?")


def test_another_question_does_not_lose_the_form() -> None:
    talk = Talk(front_desk())
    said(talk, "book a table for two")
    assert said(talk, "what are your opening hours?").say.endswith("close at nine. For what day?")
    assert said(talk, "tomorrow").say == "At what time?"


def test_what_was_said_can_be_changed() -> None:
    talk = Talk(front_desk())
    said(talk, "book a table for two tomorrow at seven", "Smith")
    assert "at 8 PM" in said(talk, "no, make it eight o'clock").say
    assert said(talk, "no").say.startswith("All right. What shall I change?")
    assert said(talk, "the day").say == "For what day?"
    assert "on Sunday at 8 PM" in said(talk, "Sunday").say
    assert said(talk, "no", "no").say == front_desk().texts.forgotten
    assert talk.state == OPEN


def test_a_refusal_asks_for_another_time() -> None:
    talk = Talk(front_desk())
    move = said(talk, "book a table for two tomorrow at seven", "Smith", "yes")
    assert move.call is not None
    talk.called("c", move.call)
    move = talk.tool_answered("c", '{"error": "We are full at 7 pm.", "alternatives": ["18:00"]}')
    assert move.say == "We are full at 7 pm. At what time?"
    assert "at 6 PM" in said(talk, "at six").say


def test_a_refusal_that_asks_itself_is_not_doubled() -> None:
    talk = Talk(front_desk())
    move = said(talk, "book a table for two tomorrow at seven", "Smith", "yes")
    assert move.call is not None
    talk.called("c", move.call)
    move = talk.tool_answered("c", '{"error": "We are closed. Which time would suit?", "alternatives": []}')
    assert move.say == "We are closed. Which time would suit?"
    assert talk.state == "time"


def test_a_broken_tool_is_told_politely() -> None:
    talk = Talk(front_desk())
    move = said(talk, "do you have a table for two tomorrow at seven")
    assert move.call is not None
    talk.called("c", move.call)
    assert talk.tool_answered("c", '{"error": "That took too long."}').say.startswith("I am sorry, that did not work")
    assert talk.state == OPEN


def test_a_free_table_is_offered_and_taken() -> None:
    talk = Talk(front_desk())
    move = said(talk, "do you have a table for two tomorrow at seven")
    assert move.call is not None
    talk.called("c", move.call)
    move = talk.tool_answered("c", '{"sentence": "Yes, there is one.", "free": true}')
    assert move.say == "Yes, there is one. Shall I book it for you?"
    assert talk.state == CONFIRM
    assert said(talk, "yes").say == "Under what name?"


def test_a_full_house_offers_nothing() -> None:
    talk = Talk(front_desk())
    move = said(talk, "do you have a table for two tomorrow at seven")
    assert move.call is not None
    talk.called("c", move.call)
    assert talk.tool_answered("c", '{"sentence": "Nothing is free.", "free": false}').say == "Nothing is free."
    assert talk.state == OPEN


def test_an_offer_can_be_declined() -> None:
    talk = Talk(front_desk())
    move = said(talk, "do you have a table for two tomorrow at seven")
    assert move.call is not None
    talk.called("c", move.call)
    talk.tool_answered("c", '{"sentence": "Yes.", "free": true}')
    assert said(talk, "no thank you").say == "All right. Is there anything else?"


def test_cancelling_fills_in_what_was_said() -> None:
    talk = Talk(front_desk())
    move = said(talk, "cancel the table for friday under the name Smith")
    assert move.say == "Shall I cancel the booking of Smith, on Friday?"
    assert arguments(said(talk, "yes")) == {"name": "Smith", "date": "friday"}


def test_repeat_forget_and_goodbye() -> None:
    talk = Talk(front_desk())
    talk.greeted("Hello.")
    assert said(talk, "could you repeat that please").say == "Hello."
    assert said(talk, "never mind").say == front_desk().texts.nothing_to_forget
    said(talk, "book a table")
    assert said(talk, "never mind").say == "All right, I will forget that. What else can I do?"
    move = said(talk, "okay, bye!")
    assert move.call is not None
    assert move.call.tool == "hang_up"
    talk.called("c", move.call)
    assert talk.tool_answered("c", "The call will end.").say.startswith("Goodbye")


def test_three_misses_in_a_row_bring_help() -> None:
    talk = Talk(front_desk())
    answers = [talk.not_understood().say for _ in range(3)]
    assert answers[0] != answers[1]
    assert answers[2] == front_desk().texts.help


def test_variants_take_turns() -> None:
    talk = Talk(front_desk())
    assert said(talk, "tell me a joke").say != said(talk, "tell me a joke").say


@pytest.mark.parametrize(
    ("output", "failed", "refused", "sentence"),
    [
        ("Just words. ", False, False, "Just words."),
        ('{"sentence": "Done.", "id": 4}', False, False, "Done."),
        ('{"error": "No.", "alternatives": []}', True, True, "No."),
        ('{"error": "No."}', True, False, "No."),
        ('{"content": [{"type": "text", "text": "A."}, {"type": "text", "text": "B."}]}', False, False, "A. B."),
        ('["a", "b"]', False, False, "a b"),
        ("4", False, False, "4"),
        ("null", False, False, ""),
        ("{}", False, False, ""),
        ("", False, False, ""),
    ],
)
def test_results_become_sentences(output: str, failed: bool, refused: bool, sentence: str) -> None:
    result = read_result(output)
    assert (result.failed, result.refused, result.sentence) == (failed, refused, sentence)
