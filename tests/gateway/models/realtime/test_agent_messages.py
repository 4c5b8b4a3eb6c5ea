"""Tests for gateway/models/realtime/agent_messages.py, responses.py: items, words and function calls of responses."""

from __future__ import annotations

from typing import Any

import pytest
from support.calls.model_messages import PLACE, Model, message, new_codec, request, shown

from sessions.events import AgentText, ItemStarted, ModelPassed, ResponseStarted, ToolWanted


def call_done(status: str = "completed") -> bytes:
    item = {"id": "i", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "status": status}
    return message("response.output_item.done", response_id="r", output_index=0, item=item)


def test_a_function_is_called_once_and_only_when_its_arguments_are_complete() -> None:
    codec = new_codec()
    assert isinstance(codec.decode(call_done("incomplete")), ItemStarted)
    wanted = codec.decode(call_done())
    assert isinstance(wanted, ToolWanted)
    assert (wanted.call_id, wanted.name, wanted.arguments) == ("c", "f", "{}")
    assert isinstance(codec.decode(call_done()), ModelPassed)


@pytest.mark.parametrize(
    ("arguments", "written"), [({"people": 2}, '{"people":2}'), (None, "{}"), ([1], "[1]"), ("{}", "{}"), ("", "")]
)
def test_a_function_is_called_whatever_the_type_of_its_arguments(arguments: Any, written: str) -> None:
    call = {"id": "item_2", "type": "function_call", "name": "find", "call_id": "call_1", "arguments": arguments}
    event = Model().says("response.output_item.done", response_id="resp_1", output_index=0, item=call)
    assert isinstance(event, ToolWanted)
    assert event.arguments == shown(event)["item"]["arguments"] == written


def test_words_that_come_whole_and_not_in_pieces_are_an_event() -> None:
    codec = new_codec()
    whole = codec.decode(message("response.output_audio_transcript.done", **PLACE, transcript="Hello."))
    assert isinstance(whole, AgentText)
    assert whole.text == "Hello."
    pieces = {**PLACE, "item_id": "item_2"}
    codec.decode(message("response.output_text.delta", **pieces, delta="Hel"))
    assert isinstance(codec.decode(message("response.output_text.done", **pieces, text="Hello")), ModelPassed)


def test_a_response_is_out_of_band_only_if_one_was_requested() -> None:
    codec = new_codec()
    text = message("response.created", response={"id": "r", "conversation_id": None})
    first = codec.decode(text)
    assert isinstance(first, ResponseStarted)
    assert not first.out_of_band
    codec.encode(request(out_of_band=True))
    second, third = codec.decode(text), codec.decode(text)
    assert isinstance(second, ResponseStarted)
    assert isinstance(third, ResponseStarted)
    assert (second.out_of_band, third.out_of_band) == (True, False)
