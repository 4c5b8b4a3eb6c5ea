"""gateway/models/local/conversation.py"""

from __future__ import annotations

from gateway.models.local.conversation import MOST_MESSAGES, NOT_YET, UNHEARD, UNINSTRUCTED, Conversation
from gateway.models.local.dialogue.answerer import Picture, Spoken, ToolOutput, Typed


def call(call_id: str) -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": "find", "arguments": "{}"}}


def test_both_sides_follow_the_instructions_in_order() -> None:
    conversation = Conversation()
    assert conversation.request() == [{"role": "system", "content": UNINSTRUCTED}]
    conversation.instructions = "Be brief."
    conversation.add([Typed("Hello."), Picture("data:"), Spoken("item_1")])
    conversation.said("Hi.")
    assert conversation.request() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "user", "content": UNHEARD},
        {"role": "assistant", "content": "Hi."},
    ]


def test_each_call_is_followed_by_its_output_or_a_placeholder() -> None:
    conversation = Conversation()
    conversation.said("")
    conversation.called("call_1", "find", "{}")
    conversation.called("call_2", "find", "{}")
    conversation.add([ToolOutput("call_2", "two")])
    assert conversation.request()[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [call("call_1"), call("call_2")]},
        {"role": "tool", "tool_call_id": "call_1", "content": NOT_YET},
        {"role": "tool", "tool_call_id": "call_2", "content": "two"},
    ]


def test_an_answer_without_words_or_calls_is_not_sent() -> None:
    conversation = Conversation()
    growing = conversation.said("")
    assert len(conversation.request()) == 1
    growing["content"] = "Well"
    assert conversation.request()[1:] == [{"role": "assistant", "content": "Well"}]


def test_a_call_in_the_history_belongs_to_the_agent_even_without_words() -> None:
    conversation = Conversation()
    conversation.called("call_0", "find", "{}")  # no message of the agent to which it could belong
    conversation.add([Typed("Find one.")])
    conversation.turn_to_agent()
    conversation.turn_to_agent()
    conversation.called("call_1", "find", "{}")
    assert [message["role"] for message in conversation.request()] == ["system", "user", "assistant", "tool"]


def test_an_out_of_band_request_is_not_part_of_the_conversation() -> None:
    conversation = Conversation()
    conversation.add([Typed("Hello.")])
    assert [message["content"] for message in conversation.request_out_of_band([Typed("Sum up.")])[1:]] == ["Sum up."]
    assert [message["content"] for message in conversation.request()[1:]] == ["Hello."]


def test_the_oldest_messages_of_a_long_conversation_are_dropped() -> None:
    conversation = Conversation()
    conversation.add([Typed(str(number)) for number in range(MOST_MESSAGES + 1)])
    assert conversation.request()[1]["content"] == "1"


def test_arguments_that_are_not_an_object_are_not_sent_back() -> None:
    for arguments in ("", "{", "[1]", "words", "null"):
        conversation = Conversation()
        conversation.said("")
        conversation.called("call_1", "find", arguments)
        assert conversation.request()[1]["tool_calls"] == [call("call_1")]
