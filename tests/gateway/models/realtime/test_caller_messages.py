"""Tests for gateway/models/realtime/caller_messages.py: positions in the caller's sound, and its transcript."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.calls.model_messages import Model, frame, message, new_codec, shown

from audio.formats import PCM16_24K, AudioFrame
from sessions.commands import SendAudio
from sessions.events import CallerTranscribed, ModelPassed, SpeechEnded, SpeechStarted
from sessions.usage import TranscriptionUsage


def test_positions_are_on_the_callers_own_timeline_on_a_later_leg() -> None:
    codec = new_codec()
    codec.encode(SendAudio(frame(7000), None))
    event = codec.decode(message("input_audio_buffer.speech_started", audio_start_ms=5, item_id="i"))
    assert isinstance(event, SpeechStarted)
    assert event.at_ms == 7005
    assert event.wire is not None
    assert orjson.loads(event.wire.text)["audio_start_ms"] == event.wire.parsed["audio_start_ms"] == 7005
    both = message("input_audio_buffer.timeout_triggered", audio_start_ms=1, audio_end_ms=2, item_id="i")
    passed = codec.decode(both)
    assert isinstance(passed, ModelPassed)
    assert passed.wire.parsed["audio_end_ms"] == 7002


@pytest.mark.parametrize("fields", [{}, {"audio_end_ms": None}, {"audio_end_ms": "late"}, {"audio_end_ms": -1}])
def test_speech_starts_and_stops_even_if_the_position_cannot_be_read(fields: dict[str, Any]) -> None:
    model = Model()
    model.codec.encode(SendAudio(AudioFrame(bytes(4800), PCM16_24K, 0), None))
    started = model.says("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms="soon")
    assert isinstance(started, SpeechStarted)
    assert (started.at_ms, shown(started)["audio_start_ms"]) == (100, 100)
    stopped = model.says("input_audio_buffer.speech_stopped", **fields)
    assert isinstance(stopped, SpeechEnded)
    assert (stopped.item_id, stopped.at_ms) == ("item_1", 100)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (
            {"type": "tokens", "input_token_details": {"text_tokens": 2, "audio_tokens": 40}, "output_tokens": 9},
            TranscriptionUsage("", input_text=2, input_audio=40, output_text=9),
        ),
        ({"type": "duration", "seconds": 2.5}, TranscriptionUsage("", audio_ms=2_500)),
        ({"type": "duration", "seconds": 1e300}, TranscriptionUsage("")),
        ({"type": "duration", "seconds": True}, TranscriptionUsage("")),
        ({"output_tokens": -4, "input_token_details": []}, TranscriptionUsage("")),
        (None, None),
        (7, None),
    ],
)
def test_a_transcription_says_what_it_used(usage: Any, counted: TranscriptionUsage | None) -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    event = new_codec().decode(message(kind, item_id="i", transcript="Hello", usage=usage))
    assert isinstance(event, CallerTranscribed)
    assert event.usage == counted
