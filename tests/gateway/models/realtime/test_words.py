"""Tests for gateway/models/realtime/words.py: characters that are cut in two between two pieces of words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.calls.model_messages import PLACE, new_codec

from gateway.models.realtime.codec import RealtimeModelCodec
from sessions.events import AgentText, CallerTranscribed, ModelPassed, ToolWanted


def piece(delta: str, kind: str = "response.output_audio_transcript.delta", item_id: str = "item_1") -> bytes:
    return json.dumps({"type": kind, "event_id": "e", **PLACE, "item_id": item_id, "delta": delta}).encode()


def words_of(codec: RealtimeModelCodec, *texts: bytes) -> list[str]:
    events = [codec.decode(text) for text in texts]
    assert all(isinstance(event, AgentText | CallerTranscribed) for event in events)
    return [event.text for event in events]  # type: ignore[union-attr]


def test_half_an_emoji_in_a_models_words_becomes_a_replacement_character() -> None:
    codec, text = new_codec(), piece("Hi \ude00")
    event = codec.decode(text)
    assert isinstance(event, AgentText)
    assert event.wire is not None
    assert (event.text, event.wire.text, event.wire.parsed["delta"]) == ("Hi \ufffd", text, "Hi \ufffd")


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "conversation.item.input_audio_transcription.delta",
    ],
)
def test_an_emoji_that_was_cut_in_two_is_joined_in_the_words(kind: str) -> None:
    codec = new_codec()
    assert words_of(codec, piece("Hi \ud83d", kind), piece("there", kind, "item_2")) == ["Hi ", "there"]
    assert words_of(codec, piece("\ude00!", kind), piece("?", kind)) == ["😀!", "?"]


def test_a_half_whose_other_half_never_comes_becomes_a_replacement_character() -> None:
    codec = new_codec()
    codec.decode(piece("Hi \ud83d"))
    done = json.dumps({"type": "response.output_audio_transcript.done", **PLACE, "transcript": "Hi \ud83d"}).encode()
    event = codec.decode(done)
    assert isinstance(event, AgentText)
    assert (event.text, event.whole) == ("\ufffd", True)
    assert isinstance(codec.decode(done), ModelPassed)


def test_arguments_and_transcripts_contain_no_half_of_a_surrogate_pair() -> None:
    codec = new_codec()
    item = {"id": "i", "type": "function_call", "name": "f", "call_id": "c", "arguments": '{"who":"\ud83d"}'}
    wanted = codec.decode(json.dumps({"type": "response.output_item.done", "response_id": "r", "item": item}).encode())
    assert isinstance(wanted, ToolWanted)
    assert wanted.arguments == '{"who":"\ufffd"}'
    said = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "\ude00"}
    assert words_of(codec, json.dumps(said).encode()) == ["\ufffd"]


@pytest.mark.parametrize("fields", [{}, {"delta": None}, {"delta": 7}, {"delta": ["\ud83d"]}])
def test_a_transcript_piece_without_words_is_empty_also_next_to_half_an_emoji(fields: dict[str, Any]) -> None:
    kind = "conversation.item.input_audio_transcription.delta"
    event = new_codec().decode(json.dumps({"type": kind, "item_id": "i", "note": "\ud83d", **fields}).encode())
    assert isinstance(event, CallerTranscribed)
    assert event.text == ""
