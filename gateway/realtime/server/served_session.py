"""One session of a Realtime server: its settings, its conversation, its responses and its brain.

Source: OpenAI Realtime API reference (GA), server behaviour.
"""

from __future__ import annotations

from typing import assert_never

from gateway.realtime import owners, server_events
from gateway.realtime.client_events import (
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    OutputAudioClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    UnknownClientEvent,
)
from gateway.realtime.server.audio_input import AudioInput
from gateway.realtime.server.brain import BrainFactory
from gateway.realtime.server.conversation import Conversation
from gateway.realtime.server.event_sender import EventSender
from gateway.realtime.server.item_requests import ItemRequests
from gateway.realtime.server.responses import Responses, ResponseSettings
from gateway.realtime.session import EffectiveSession
from sessions.errors import WireError
from sessions.ports import JsonObject


class ServedSession:
    """Carries out a client's events, and lets the brain answer.

    Only the session and its server call `brain`; `audio_input` is the brain's `TurnEvents`.
    """

    def __init__(
        self,
        settings: EffectiveSession,
        may_set: frozenset[str],
        brain_factory: BrainFactory,
        out: EventSender,
        now_ms: int,
    ) -> None:
        self._settings = settings
        self._may_set = may_set
        self._out = out
        self._now_ms = now_ms  # the time of the present event, because `TurnEvents` have no time
        self._conversation = Conversation(out.new_id("conv"))
        self._items = ItemRequests(out, self._conversation)
        self._responses = Responses(out, self._conversation)
        self.audio_input = AudioInput(out, self._conversation, settings.input_format, self._on_speech, self._on_turn)
        self.brain = brain_factory(self.audio_input)

    def open(self, now_ms: int) -> None:
        """Send `session.created`."""
        self._now_ms = now_ms
        self._out.send(server_events.session_created, self._settings.as_client_sees())
        self._tell_settings()

    def on_time(self, now_ms: int) -> None:
        """Do what is due at this time. An early call is harmless."""
        self._now_ms = now_ms
        self.brain.on_time(now_ms)

    def close(self) -> None:
        """The client has disconnected: end the brain, and drop sound and items."""
        self.brain.close()
        self.audio_input.close()
        self._conversation.clear()  # else megabytes of sound would stay until the next garbage collection

    def hear(self, payload: bytes, now_ms: int) -> None:
        """Take the caller's sound, in the format of `audio_input`."""
        self._now_ms = now_ms
        if payload:
            self.brain.heard(self.audio_input.append(payload), now_ms)

    def take(self, event: ClientEvent, now_ms: int) -> None:
        """Carry out one event. Raises WireError for one that cannot be carried out."""
        self._now_ms = now_ms
        match event:
            case AudioAppend():
                self.hear(event.payload, now_ms)
            case SessionUpdate():
                self._update(event)
            case AudioCommit():
                self.brain.committed(self.audio_input.commit(), now_ms)
            case AudioClear():
                self.audio_input.clear()
                self.brain.cleared()
            case ItemCreate():
                self.brain.item_added(self._items.create(event, self.audio_input.format), now_ms)
            case ItemRetrieve():
                self._items.retrieve(event.item_id)
            case ItemTruncate():
                self._items.truncate(event)
                self.brain.item_truncated(event.item_id, event.audio_end_ms)
            case ItemDelete():
                self._items.delete(event.item_id)
            case ResponseCreate():
                request = owners.filtered_response(event.response, self._may_set)
                self._items.check_input(request, self.audio_input.format)
                self._respond(request)
            case ResponseCancel():
                self.brain.stopped(self._responses.stop(event.response_id, "client_cancelled"))
            case OutputAudioClear():
                raise WireError("'output_audio_buffer.clear' is for WebRTC and SIP sessions only.", param="type")
            case UnknownClientEvent():
                raise WireError(f"Invalid value: '{event.type[:64]}' is not an event of this protocol.", param="type")
            case _:
                assert_never(event)

    def _update(self, event: SessionUpdate) -> None:
        voice_locked = self._responses.agent_spoke
        self._settings = self._settings.merged(event.session, self._may_set, voice_locked=voice_locked)
        self._tell_settings()
        self._out.send(server_events.session_updated, self._settings.as_client_sees())

    def _tell_settings(self) -> None:
        settings = self._settings
        self.audio_input.configure(
            settings.input_format,
            client_commits=settings.turn_detection is None,
            transcribes=settings.transcription is not None,
        )
        self.brain.configured(settings.as_client_sees())

    def _respond(self, request: JsonObject) -> None:
        response = self._responses.start(ResponseSettings.of(self._settings, request))
        self.brain.respond(response, request, self._now_ms)

    # ---- callbacks of `audio_input`

    def _on_speech(self) -> None:
        current = self._responses.current
        if current is not None and self._settings.turn_policy.model_interrupts:
            current.stop("turn_detected")
            self.brain.stopped(current.id)

    def _on_turn(self) -> None:
        # While a response that must not be interrupted is in progress, the client must ask for the next answer.
        if self._settings.turn_policy.model_answers and self._responses.current is None:
            self._respond({})
