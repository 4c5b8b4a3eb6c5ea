"""One session of a Realtime server: its settings, its conversation, its answers, and the brain that gives them.

Source: OpenAI Realtime API reference (GA), server behaviour.
"""

from __future__ import annotations

from typing import assert_never

from gateway.realtime import owners, server_events
from gateway.realtime.brain import BrainFactory
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
from gateway.realtime.conversation import Conversation
from gateway.realtime.item_requests import ItemRequests
from gateway.realtime.listening import Listening
from gateway.realtime.outlet import Outlet
from gateway.realtime.responses import Responses, Terms
from gateway.realtime.session import EffectiveSession
from sessions.errors import WireError
from sessions.ports import JsonObject


class ServedSession:
    """Does what a client's events ask for, and lets the brain answer.

    `brain` is called by the session and its server only; `listening` is the brain's ear.
    """

    def __init__(
        self,
        settings: EffectiveSession,
        may_set: frozenset[str],
        brain_factory: BrainFactory,
        out: Outlet,
        now_ms: int,
    ) -> None:
        self._settings = settings
        self._may_set = may_set
        self._out = out
        self._now_ms = now_ms  # of what is being dealt with: the ear does not say when it hears
        self._conversation = Conversation(out.new_id("conv"))
        self._items = ItemRequests(out, self._conversation)
        self._responses = Responses(out, self._conversation)
        self.listening = Listening(
            out, self._conversation, settings.input_format, self._caller_speaks, self._caller_took_turn
        )
        self.brain = brain_factory(self.listening)

    def open(self, now_ms: int) -> None:
        """Greet the client."""
        self._now_ms = now_ms
        self._out.send(server_events.session_created, self._settings.as_client_sees())
        self._tell_settings()

    def on_time(self, now_ms: int) -> None:
        """It is that late. An early call is harmless."""
        self._now_ms = now_ms
        self.brain.on_time(now_ms)

    def close(self) -> None:
        """The client is gone: nothing is heard or answered any more."""
        self.brain.close()
        self.listening.close()
        self._conversation.clear()  # megabytes of sound, which would wait for the next collection of garbage

    def hear(self, payload: bytes, now_ms: int) -> None:
        """Take the caller's sound, in the format of `listening`."""
        self._now_ms = now_ms
        if payload:
            self.brain.heard(self.listening.append(payload), now_ms)

    def take(self, event: ClientEvent, now_ms: int) -> None:
        """Follow one event. Raises WireError for one that cannot be followed."""
        self._now_ms = now_ms
        match event:
            case AudioAppend():
                self.hear(event.payload, now_ms)
            case SessionUpdate():
                self._update(event)
            case AudioCommit():
                self.brain.committed(self.listening.commit(), now_ms)
            case AudioClear():
                self.listening.clear()
                self.brain.cleared()
            case ItemCreate():
                self.brain.item_added(self._items.create(event, self.listening.format), now_ms)
            case ItemRetrieve():
                self._items.retrieve(event.item_id)
            case ItemTruncate():
                self._items.truncate(event)
                self.brain.item_truncated(event.item_id, event.audio_end_ms)
            case ItemDelete():
                self._items.delete(event.item_id)
            case ResponseCreate():
                request = owners.filtered_response(event.response, self._may_set)
                self._items.check_input(request, self.listening.format)
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
        self.listening.configure(
            settings.input_format,
            by_hand=settings.turn_detection is None,
            transcribes=settings.transcription is not None,
        )
        self.brain.configured(settings.as_client_sees())

    def _respond(self, request: JsonObject) -> None:
        response = self._responses.start(Terms.of(self._settings, request))
        self.brain.respond(response, request, self._now_ms)

    # ---- what the brain hears

    def _caller_speaks(self) -> None:
        speaking = self._responses.speaking
        if speaking is not None and self._settings.interrupts_by_itself:
            speaking.stop("turn_detected")
            self.brain.stopped(speaking.id)

    def _caller_took_turn(self) -> None:
        # While an answer speaks that must not be interrupted, the caller's turn waits for the client's word.
        if self._settings.answers_by_itself and self._responses.speaking is None:
            self._respond({})
