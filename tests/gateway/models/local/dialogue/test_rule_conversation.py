"""gateway/models/local/dialogue/rule_conversation.py, form_filling.py and results.py, with the demo agent's dialogue"""

from __future__ import annotations

import json

import pytest
from support.local.local_world import front_desk

from gateway.models.local.dialogue.replies import Reply
from gateway.models.local.dialogue.results import read_result
from gateway.models.local.dialogue.rule_conversation import RuleConversation
from gateway.models.local.dialogue.rules import CONFIRM, OPEN


def said(conversation: RuleConversation, *lines: str) -> Reply:
    for line in lines:
        reply = conversation.written(line)
    return reply


def arguments(reply: Reply) -> dict[str, object]:
    assert reply.call is not None
    read = json.loads(reply.call.arguments)
    assert isinstance(read, dict)
    return read


def test_a_table_is_booked_turn_by_turn() -> None:
    conversation = RuleConversation(front_desk())
    assert conversation.spoken("i'd like to book a table").say == "For how many people?"
    assert conversation.spoken("for two people").say == "For what day?"
    assert conversation.spoken("tomorrow").say == "At what time?"
    assert conversation.spoken("half past seven").say == "Under what name?"
    reply = conversation.spoken("my name is parker")
    assert reply.say == "A table for two, tomorrow at 7:30 PM, under Parker. Shall I book it?"
    reply = conversation.spoken("yes please")
    assert reply.call is not None
    assert reply.call.tool == "book_table"
    assert arguments(reply) == {"date": "tomorrow", "time": "19:30", "party_size": 2, "name": "Parker"}
    conversation.called("call_1", reply.call)
    reply = conversation.tool_answered("call_1", '{"sentence": "Booked.", "booking_id": 3}')
    assert reply.say == "Booked. We look forward to seeing you."
    assert conversation.state == OPEN


def test_after_one_sentence_with_three_slots_only_the_name_is_asked() -> None:
    conversation = RuleConversation(front_desk())
    assert (
        said(conversation, "Hi, I would like to book a table for 4 on Friday at 8pm, please").say == "Under what name?"
    )
    assert "for four, on Friday at 8 PM, under Smith" in said(conversation, "Smith").say


def test_any_typed_name_is_accepted() -> None:
    conversation = RuleConversation(front_desk())
    said(conversation, "book a table for two tomorrow at seven")
    assert "under Kowalski" in said(conversation, "My name is Kowalski.").say


def test_a_long_remark_is_not_a_name() -> None:
    conversation = RuleConversation(front_desk())
    said(conversation, "book a table for two tomorrow at seven")
    assert said(conversation, "the weather is really fine").say.startswith(
        "Sorry, I did not get that. Under what name?"
    )


def test_another_question_leaves_the_form_open() -> None:
    conversation = RuleConversation(front_desk())
    said(conversation, "book a table for two")
    assert said(conversation, "what are your opening hours?").say.endswith("close at nine. For what day?")
    assert said(conversation, "tomorrow").say == "At what time?"


def test_a_slot_can_be_changed() -> None:
    conversation = RuleConversation(front_desk())
    said(conversation, "book a table for two tomorrow at seven", "Smith")
    assert "at 8 PM" in said(conversation, "no, make it eight o'clock").say
    assert said(conversation, "no").say.startswith("All right. What shall I change?")
    assert said(conversation, "the day").say == "For what day?"
    assert "on Sunday at 8 PM" in said(conversation, "Sunday").say
    assert said(conversation, "no", "no").say == front_desk().texts.forgotten
    assert conversation.state == OPEN


def test_a_refusal_asks_for_another_time() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "book a table for two tomorrow at seven", "Smith", "yes")
    assert reply.call is not None
    conversation.called("c", reply.call)
    reply = conversation.tool_answered("c", '{"error": "We are full at 7 pm.", "alternatives": ["18:00"]}')
    assert reply.say == "We are full at 7 pm. At what time?"
    assert "at 6 PM" in said(conversation, "at six").say


def test_a_refusal_with_a_question_is_not_followed_by_a_second_question() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "book a table for two tomorrow at seven", "Smith", "yes")
    assert reply.call is not None
    conversation.called("c", reply.call)
    reply = conversation.tool_answered("c", '{"error": "We are closed. Which time would suit?", "alternatives": []}')
    assert reply.say == "We are closed. Which time would suit?"
    assert conversation.state == "time"


def test_a_tool_failure_is_reported_politely() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "do you have a table for two tomorrow at seven")
    assert reply.call is not None
    conversation.called("c", reply.call)
    assert conversation.tool_answered("c", '{"error": "That took too long."}').say.startswith(
        "I am sorry, that did not work"
    )
    assert conversation.state == OPEN


def test_a_free_table_is_offered_and_the_offer_is_accepted() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "do you have a table for two tomorrow at seven")
    assert reply.call is not None
    conversation.called("c", reply.call)
    reply = conversation.tool_answered("c", '{"sentence": "Yes, there is one.", "free": true}')
    assert reply.say == "Yes, there is one. Shall I book it for you?"
    assert conversation.state == CONFIRM
    assert said(conversation, "yes").say == "Under what name?"


def test_a_result_without_a_free_table_makes_no_offer() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "do you have a table for two tomorrow at seven")
    assert reply.call is not None
    conversation.called("c", reply.call)
    assert conversation.tool_answered("c", '{"sentence": "Nothing is free.", "free": false}').say == "Nothing is free."
    assert conversation.state == OPEN


def test_an_offer_can_be_declined() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "do you have a table for two tomorrow at seven")
    assert reply.call is not None
    conversation.called("c", reply.call)
    conversation.tool_answered("c", '{"sentence": "Yes.", "free": true}')
    assert said(conversation, "no thank you").say == "All right. Is there anything else?"


def test_cancelling_uses_the_slots_of_the_sentence() -> None:
    conversation = RuleConversation(front_desk())
    reply = said(conversation, "cancel the table for friday under the name Smith")
    assert reply.say == "Shall I cancel the booking of Smith, on Friday?"
    assert arguments(said(conversation, "yes")) == {"name": "Smith", "date": "friday"}


def test_repeat_forget_and_goodbye() -> None:
    conversation = RuleConversation(front_desk())
    conversation.greeted("Hello.")
    assert said(conversation, "could you repeat that please").say == "Hello."
    assert said(conversation, "never mind").say == front_desk().texts.nothing_to_forget
    said(conversation, "book a table")
    assert said(conversation, "never mind").say == "All right, I will forget that. What else can I do?"
    reply = said(conversation, "okay, bye!")
    assert reply.call is not None
    assert reply.call.tool == "hang_up"
    conversation.called("c", reply.call)
    assert conversation.tool_answered("c", "The call will end.").say.startswith("Goodbye")


def test_help_follows_three_misunderstandings_in_a_row() -> None:
    conversation = RuleConversation(front_desk())
    answers = [conversation.not_understood().say for _ in range(3)]
    assert answers[0] != answers[1]
    assert answers[2] == front_desk().texts.help


def test_a_rule_s_variants_rotate() -> None:
    conversation = RuleConversation(front_desk())
    assert said(conversation, "tell me a joke").say != said(conversation, "tell me a joke").say


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
