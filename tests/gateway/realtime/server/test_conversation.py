"""The bounds of a conversation; test_server.py tests the rest."""

from __future__ import annotations

import base64

import pytest

from audio.formats import PCM16_24K
from gateway.realtime import items
from gateway.realtime.server.conversation import MAX_ITEM_CHARS, MAX_ITEMS, Conversation
from gateway.realtime.server.item_audio import MAX_ITEM_BYTES, MAX_KEPT_BYTES
from sessions.errors import WireError
from sessions.ports import JsonObject


def kept_bytes(conversation: Conversation, item_id: str) -> int:
    content = conversation.retrieved(item_id)["content"]
    assert isinstance(content, list)
    return len(base64.b64decode(content[0].get("audio", "")))


def test_the_oldest_item_is_dropped_past_the_bound() -> None:
    conversation = Conversation("conv_1")
    for number in range(MAX_ITEMS):
        conversation.add(items.user_text(f"item_{number}", "x"))
    conversation.add(items.user_text("first", "x"), "root")
    assert "item_0" not in conversation
    assert conversation.previous_id("item_1") == "first"
    conversation.add(items.user_text("last", "x"))
    assert "first" not in conversation
    assert (conversation.last_id, conversation.previous_id("item_1")) == ("last", None)


def test_the_oldest_sound_is_dropped_past_the_bound() -> None:
    conversation = Conversation("conv_1")
    fitting = MAX_KEPT_BYTES // MAX_ITEM_BYTES
    for number in range(fitting + 1):
        conversation.add(items.assistant_audio(f"item_{number}", "x"))
        conversation.sound.add(f"item_{number}", PCM16_24K, bytes(MAX_ITEM_BYTES))
    assert kept_bytes(conversation, "item_0") == 0
    assert [kept_bytes(conversation, f"item_{n}") for n in range(1, fitting + 1)] == [MAX_ITEM_BYTES] * fitting
    conversation.delete(f"item_{fitting}")
    conversation.add(items.assistant_audio("again", "x"))
    conversation.sound.add("again", PCM16_24K, bytes(MAX_ITEM_BYTES))
    assert kept_bytes(conversation, "item_1") == MAX_ITEM_BYTES


def test_sound_for_a_deleted_item_is_ignored() -> None:
    conversation = Conversation("conv_1")
    conversation.sound.add("gone", PCM16_24K, bytes(2))
    conversation.set_transcript("gone", "x")
    conversation.update(items.user_text("gone", "x"))
    with pytest.raises(WireError):
        conversation.retrieved("gone")


def test_a_transcript_belongs_to_the_first_sound_without_one() -> None:
    conversation = Conversation("conv_1")
    silent: JsonObject = {"type": "input_audio", "transcript": None}
    text: JsonObject = {"type": "input_text", "text": "x"}
    conversation.add({"id": "spoken", "type": "message", "role": "user", "content": [text, silent, silent]})
    for words in ("one", "two"):
        conversation.set_transcript("spoken", words)
    sounds = [{**silent, "transcript": "one"}, {**silent, "transcript": "two"}]
    assert conversation.retrieved("spoken")["content"] == [text, *sounds]
    conversation.set_transcript("spoken", "one again")
    assert conversation.retrieved("spoken")["content"] == [text, {**silent, "transcript": "one again"}, sounds[1]]
    conversation.add(items.user_text("typed", "x"))
    conversation.set_transcript("typed", "unused")
    assert conversation.retrieved("typed") == items.user_text("typed", "x")


def test_the_oldest_items_are_dropped_when_words_and_pictures_exceed_the_bound() -> None:
    conversation = Conversation("conv_1")
    big = "x" * (MAX_ITEM_CHARS // 2)
    for name in ("a", "b", "c"):
        conversation.add(items.user_text(name, big))
    assert ["a" in conversation, "b" in conversation, "c" in conversation] == [False, False, True]
    conversation.delete("c")
    conversation.add(items.user_text("d", big))
    conversation.add(items.user_text("e", "x" * (MAX_ITEM_CHARS + 1)))
    assert ["d" in conversation, "e" in conversation] == [False, True]  # the newest stays, however large
