"""Tests for gateway/models/realtime/speech.py: the sound in a model's messages."""

from __future__ import annotations

import pytest
from support.calls.model_messages import PLACE, delta, message, new_codec, ready_codec, setup, speech

from audio.formats import PCM16_24K, PCMU_8K, AudioFrame
from sessions.commands import Configure
from sessions.errors import WireError
from sessions.events import AgentAudio


def test_sound_keeps_its_bytes_and_counts_samples_from_its_items_start() -> None:
    codec = new_codec()
    text = delta(bytes(480))
    first, second = speech(codec, text), speech(codec, delta(bytes(960)))
    assert first == AgentAudio("resp_1", "item_1", AudioFrame(bytes(480), PCM16_24K, 0), text)
    assert second.frame.start_sample == 240
    assert speech(codec, delta(bytes(4), "item_2")).frame.start_sample == 0
    assert speech(codec, delta(bytes(4))).frame.start_sample == 720


def test_sound_is_read_whatever_the_layout_of_its_message() -> None:
    codec = new_codec()
    text = (
        b'{ "delta": "AAAA\\u0041AAA", "type": "response.output_audio.delta", "item_id": "i", "response_id": "r",'
        b' "output_index": 0, "content_index": 0 }'
    )
    assert speech(codec, text).frame.payload == bytes(6)


def test_half_a_sample_waits_for_its_other_half() -> None:
    codec = new_codec()
    first = speech(codec, delta(b"\x01\x02\x03"))
    second = speech(codec, delta(b"\x04\x05\x06"))
    assert (first.frame.payload, second.frame.payload) == (b"\x01\x02", b"\x03\x04\x05\x06")
    assert second.frame.start_sample == 1


def test_sound_has_the_format_that_its_response_names() -> None:
    codec = ready_codec()
    named = {"id": "resp_1", "audio": {"output": {"format": {"type": "audio/pcmu"}}}, "conversation_id": "conv_1"}
    codec.decode(message("response.created", response=named))
    assert speech(codec, delta(b"\xff\xff\xff")).frame.format == PCMU_8K


def test_a_change_of_format_applies_after_the_model_has_confirmed_it() -> None:
    codec = ready_codec()
    codec.encode(Configure(setup(output=PCMU_8K)))
    assert speech(codec, delta(bytes(4))).frame.format == PCM16_24K
    codec.decode(message("session.updated", session={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}))
    assert speech(codec, delta(bytes(4), "item_2", "resp_2")).frame.format == PCMU_8K


def test_sound_that_is_not_base64_is_malformed() -> None:
    text = message("response.output_audio.delta", **PLACE, delta="%%%")
    with pytest.raises(WireError, match="base64") as caught:
        new_codec().decode(text)
    assert caught.value.param == "delta"
