"""Tests for gateway/models/realtime/message.py: one message, and the corrections to its fields."""

from __future__ import annotations

import orjson
import pytest

from gateway.models.realtime.message import ModelMessage, object_of, text_of
from sessions.errors import WireError
from sessions.values import Wire


def test_a_message_without_corrections_keeps_its_bytes() -> None:
    text = b'{"type": "x",  "new": [1]}'
    assert ModelMessage(text).wire() == Wire("realtime", text, {"type": "x", "new": [1]})


def test_a_corrected_message_is_written_with_all_corrections() -> None:
    message = ModelMessage(b'{"type": "x", "a": 1, "b": 2}')
    message.correct("a", None)
    message.correct("c", "three")
    fields = {"type": "x", "a": None, "b": 2, "c": "three"}
    wire = message.wire()
    assert (orjson.loads(wire.text), wire.parsed) == (fields, fields)


def test_a_message_under_a_name_of_the_beta_has_the_ga_name() -> None:
    message = ModelMessage(b'{"type":"response.text.delta","delta":"Hi"}')
    assert message.kind == message.fields["type"] == "response.output_text.delta"
    assert message.text() == b'{"type":"response.output_text.delta","delta":"Hi"}'
    assert message.came == b'{"type":"response.text.delta","delta":"Hi"}'


def test_an_error_about_a_missing_field_names_the_field() -> None:
    with pytest.raises(WireError, match="the model's x has no 'item_id'") as caught:
        text_of({"type": "x", "item_id": 7}, "item_id")
    assert caught.value.param == "item_id"
    with pytest.raises(WireError, match="the model's message has no 'item'"):
        object_of({"item": []}, "item")
