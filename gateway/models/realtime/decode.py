"""A model's messages become the call's events: each message is read in one pass and becomes at most one event.

The walk of a message: its bytes are parsed (`message.py`), and the reader of its type makes the event. What a reader
has to know from earlier messages it asks of small objects: the open responses, the ids of function calls, the sound
that was sent, the words so far. A sound delta is read without parsing (`speech.py`).

A message of an unknown type is passed on; a message of a known type that lacks a required field is a WireError.
Source: OpenAI Realtime API reference, server events (GA), and the beta's names for the same events.
"""

from __future__ import annotations

from gateway.models.realtime.agent_messages import AgentMessages
from gateway.models.realtime.call_ids import CallNames
from gateway.models.realtime.caller_messages import CallerMessages
from gateway.models.realtime.input_clock import SoundPositions
from gateway.models.realtime.message import ModelMessage
from gateway.models.realtime.negotiation import ModelSettings
from gateway.models.realtime.responses import ModelResponses
from gateway.models.realtime.session_messages import SessionMessages
from gateway.models.realtime.speech import ModelSpeech
from sessions.events import ModelEvent, ModelPassed


class ModelReader:
    """Reads the messages of one leg."""

    __slots__ = ("_calls", "_readers", "_responses", "_speech")

    def __init__(
        self,
        *,
        calls: CallNames,
        positions: SoundPositions,
        responses: ModelResponses,
        settings: ModelSettings,
        speech: ModelSpeech,
        seeded: set[str],
    ) -> None:
        """`seeded` holds the ids of items that the leg was given when it began and that the client knows already."""
        self._calls = calls
        self._responses = responses
        self._speech = speech
        self._readers = {
            **CallerMessages(positions).readers(),
            **AgentMessages(responses, calls, speech).readers(),
            **SessionMessages(settings, responses, speech, seeded).readers(),
        }

    def read(self, text: bytes) -> ModelEvent | None:
        """The event of one message; None if the call does not need it. Raises WireError for a malformed message."""
        sound = self._speech.read(text)
        if sound is not None:
            return sound
        message = ModelMessage(text)
        if "item" in message.fields:
            self._calls.name_item(message, self._responses.running)
        reader = self._readers.get(message.kind)
        return ModelPassed(message.wire()) if reader is None else reader(message)
