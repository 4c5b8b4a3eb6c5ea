"""What a model says about the caller's sound: where speech is in it, what was committed, and what was said.

Source: OpenAI Realtime API reference, `input_audio_buffer.*`, `conversation.item.input_audio_transcription.*`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.models.realtime.input_clock import SoundPositions
from gateway.models.realtime.message import ModelMessage, text_of
from gateway.models.realtime.refusal import read_refusal
from gateway.models.realtime.response_end import read_transcription_usage
from gateway.models.realtime.words import WordPieces
from sessions.events import CallerTranscribed, CallerTurnTaken, ModelEvent, ModelPassed, SpeechEnded, SpeechStarted

MAX_POSITION_MS = 1 << 53


class CallerMessages:
    """Reads the messages about the caller's sound, and gives their positions on the caller's own timeline."""

    __slots__ = ("_positions", "_speaking_item", "_words")

    def __init__(self, positions: SoundPositions) -> None:
        self._positions = positions
        self._words = WordPieces()
        self._speaking_item: str | None = None  # the item of the caller's newest speech

    def readers(self) -> dict[str, Callable[[ModelMessage], ModelEvent | None]]:
        """The reader of each type of message."""
        return {
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.timeout_triggered": self._timeout_triggered,
            "input_audio_buffer.committed": self._committed,
            "conversation.item.input_audio_transcription.delta": self._transcribed_piece,
            "conversation.item.input_audio_transcription.completed": self._transcribed,
            "conversation.item.input_audio_transcription.failed": self._not_transcribed,
        }

    def _speech_started(self, message: ModelMessage) -> ModelEvent:
        at_ms = self._position(message, "audio_start_ms")
        self._note_item(message)
        return SpeechStarted(text_of(message.fields, "item_id"), at_ms, message.wire())

    def _speech_stopped(self, message: ModelMessage) -> ModelEvent:
        at_ms = self._position(message, "audio_end_ms")
        if not self._note_item(message) and self._speaking_item is not None:
            message.correct("item_id", self._speaking_item)
        return SpeechEnded(text_of(message.fields, "item_id"), at_ms, message.wire())

    def _timeout_triggered(self, message: ModelMessage) -> ModelEvent:
        self._position(message, "audio_start_ms")
        self._position(message, "audio_end_ms")
        self._note_item(message)
        return ModelPassed(message.wire())

    def _position(self, message: ModelMessage, key: str) -> int:
        """The position at `key`, in ms of the caller's own sound; the message is corrected where that is another one.

        A position that cannot be read becomes the end of the sound so far: that the caller speaks or has stopped is
        worth more than where.
        """
        model_ms = message.fields.get(key)
        if type(model_ms) is int and 0 <= model_ms <= MAX_POSITION_MS:
            call_ms = self._positions.on_call(model_ms)
            if call_ms == model_ms:
                return call_ms
        else:
            call_ms = self._positions.on_call(self._positions.had_ms)
        message.correct(key, call_ms)
        return call_ms

    def _note_item(self, message: ModelMessage) -> bool:
        """Remember the item that the message names; False if it names none."""
        item_id = message.fields.get("item_id")
        if not isinstance(item_id, str):
            return False
        self._speaking_item = item_id
        return True

    def _committed(self, message: ModelMessage) -> ModelEvent:
        return CallerTurnTaken(text_of(message.fields, "item_id"), message.wire())

    def _transcribed_piece(self, message: ModelMessage) -> ModelEvent:
        item_id, delta = text_of(message.fields, "item_id"), message.fields.get("delta")
        words = self._words.joined(item_id, message, delta) if isinstance(delta, str) else ""
        return CallerTranscribed(item_id, words, False, message.wire())

    def _transcribed(self, message: ModelMessage) -> ModelEvent:
        item_id, words = text_of(message.fields, "item_id"), text_of(message.fields, "transcript")
        usage = message.fields.get("usage")
        used = read_transcription_usage(usage) if isinstance(usage, Mapping) else None
        return CallerTranscribed(item_id, words, True, message.wire(), used)

    def _not_transcribed(self, message: ModelMessage) -> ModelEvent:
        error = message.fields.get("error")
        if not isinstance(error, Mapping):
            return ModelPassed(message.wire())
        refusal = read_refusal(error)
        return refusal.event(refusal.event_id, message.wire())
