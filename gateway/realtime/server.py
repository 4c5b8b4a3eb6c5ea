"""The server half of the Realtime protocol: makes any `Brain` into a server that a Realtime client can talk to.

Pure: messages and the time go in, messages come out through `emit`. The socket, the clock and the brain are others'.
Source: OpenAI Realtime API reference (GA), server behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from gateway.realtime import fields, owners, server_events
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
    decode_append,
    read_client_event,
)
from gateway.realtime.conversation import Conversation
from gateway.realtime.items import check_item
from gateway.realtime.listening import Listening
from gateway.realtime.outlet import Outlet
from gateway.realtime.responses import Responses, Terms
from gateway.realtime.scan import scan_append
from gateway.realtime.session import AgentSide, EffectiveSession
from sessions.agent import TurnDetection
from sessions.errors import WireError
from sessions.ports import Ids, Json, JsonObject

MAX_SESSION_MS = 60 * 60_000
MAX_MALFORMED = 10  # in a row
# Ordinary races between a client and its server: answered, and not counted as malformed.
RACES = frozenset(
    {
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_create_duplicate_item_id",
        "item_delete_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_truncate_invalid_item_id",
        "rate_limit_exceeded",
        "response_cancel_not_active",
    }
)
NOBODY = AgentSide(
    instructions="",
    tools=(),
    voice=None,
    speed=None,
    turn_detection=TurnDetection(),
    transcription=None,
    max_output_tokens=None,
)


class RealtimeServer:
    """One session: reads a client's messages, keeps the conversation, and lets a brain answer."""

    def __init__(
        self,
        brain_factory: BrainFactory,
        ids: Ids,
        emit: Callable[[bytes], None],
        *,
        now_ms: int,
        wall_s: float,
        model: str,
        may_set: frozenset[str] = owners.EVERYTHING,
    ) -> None:
        self._now_ms = now_ms
        self._ends_ms = now_ms + MAX_SESSION_MS
        self._may_set = may_set
        self._malformed = 0
        self._failure: str | None = None
        self._closed = False
        self._out = Outlet(ids, emit)
        self._session = EffectiveSession.for_agent(NOBODY, ids.new("sess"), int(wall_s) + MAX_SESSION_MS // 1000, model)
        self._conversation = Conversation(ids.new("conv"))
        self._responses = Responses(self._out, self._conversation)
        self._listening = Listening(
            self._out, self._conversation, self._session.input_format, self._caller_speaks, self._caller_took_turn
        )
        self._brain = brain_factory(self._listening)

    @property
    def failed(self) -> str | None:
        """Why the connection must be closed now: `malformed` or `session_expired`; None while all is well."""
        return self._failure

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next; None once there is nothing to wait for."""
        if self._closed or self._failure is not None:
            return None
        brain_ms = self._brain.deadline_ms
        return self._ends_ms if brain_ms is None else min(brain_ms, self._ends_ms)

    def open(self, now_ms: int) -> None:
        """Greet the client."""
        self._now_ms = now_ms
        self._out.send(server_events.session_created, self._session.as_client_sees())
        self._tell_session()

    def receive(self, text: bytes, now_ms: int) -> None:
        """Take one message. What is wrong with it is answered with an `error` event."""
        if self._closed or self._failure is not None:
            return
        self._now_ms = now_ms
        try:
            self._read(text)
        except WireError as problem:
            self._refuse(problem)
        else:
            self._malformed = 0

    def on_time(self, now_ms: int) -> None:
        """It is that late. An early call is harmless."""
        if self._closed or self._failure is not None:
            return
        self._now_ms = now_ms
        if now_ms >= self._ends_ms:
            self._failure = "session_expired"
            message = "Your session hit the maximum duration of 60 minutes."
            self._out.send(server_events.error, message, code="session_expired")
            return
        self._brain.on_time(now_ms)

    def close(self) -> None:
        """The client is gone: nothing is emitted any more."""
        if not self._closed:
            self._closed = True
            self._brain.close()
            self._listening.close()
            self._conversation.clear()  # megabytes of sound, which would wait for the next collection of garbage

    # ---- reading

    def _read(self, text: bytes) -> None:
        format = self._listening.format
        sound = scan_append(text)
        if sound is not None:
            try:
                payload = decode_append(sound, format)
            except WireError:
                # Read it whole, for the event's id in the error.
                read_client_event(text, format)
                raise
            self._hear(payload)
            return
        event = read_client_event(text, format)
        try:
            self._take(event)
        except WireError as problem:
            problem.event_id = event.event_id
            raise

    def _take(self, event: ClientEvent) -> None:
        match event:
            case AudioAppend():
                self._hear(event.payload)
            case SessionUpdate():
                self._update(event)
            case AudioCommit():
                self._brain.committed(self._listening.commit(), self._now_ms)
            case AudioClear():
                self._listening.clear()
                self._brain.cleared()
            case ItemCreate():
                self._create_item(event)
            case ItemRetrieve():
                self._out.send(server_events.item_retrieved, self._conversation.retrieved(event.item_id))
            case ItemTruncate():
                self._truncate(event)
            case ItemDelete():
                self._conversation.delete(event.item_id)
                self._out.send(server_events.item_deleted, event.item_id)
            case ResponseCreate():
                self._create_response(event)
            case ResponseCancel():
                self._brain.stopped(self._responses.stop(event.response_id, "client_cancelled"))
            case OutputAudioClear():
                raise WireError("'output_audio_buffer.clear' is for WebRTC and SIP sessions only.", param="type")
            case UnknownClientEvent():
                raise WireError(f"Invalid value: '{event.type[:64]}' is not an event of this protocol.", param="type")
            case _:
                assert_never(event)

    def _refuse(self, problem: WireError) -> None:
        self._out.send(server_events.error_for, problem)
        if problem.code in RACES:
            return
        self._malformed += 1
        if self._malformed >= MAX_MALFORMED:
            self._failure = "malformed"

    # ---- the client's wishes

    def _hear(self, payload: bytes) -> None:
        if payload:
            self._brain.heard(self._listening.append(payload), self._now_ms)

    def _update(self, event: SessionUpdate) -> None:
        self._session = self._session.merged(event.session, self._may_set, voice_locked=self._responses.agent_spoke)
        self._tell_session()
        self._out.send(server_events.session_updated, self._session.as_client_sees())

    def _tell_session(self) -> None:
        session = self._session
        self._listening.configure(
            session.input_format,
            by_hand=session.turn_detection is None,
            transcribes=session.transcription is not None,
        )
        self._brain.configured(session.as_client_sees())

    def _create_item(self, event: ItemCreate) -> None:
        item: JsonObject = {**event.item, "id": event.item.get("id") or self._out.new_id("item")}
        previous = self._conversation.add(_without_sound(item), event.previous_item_id)
        self._out.send(server_events.item_added, item, previous)
        self._out.send(server_events.item_done, item, previous)
        self._brain.item_added(item, self._now_ms)

    def _truncate(self, event: ItemTruncate) -> None:
        self._conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
        self._out.send(server_events.item_truncated, event.item_id, event.content_index, event.audio_end_ms)
        self._brain.item_truncated(event.item_id, event.audio_end_ms)

    def _create_response(self, event: ResponseCreate) -> None:
        request = owners.filtered_response(event.response, self._may_set)
        for index, entry in enumerate(fields.array(request.get("input", []), "response.input")):
            self._check_input(fields.json_object(entry, f"response.input[{index}]"), f"response.input[{index}]")
        self._respond(request)

    def _check_input(self, entry: JsonObject, path: str) -> None:
        if entry.get("type") != "item_reference":
            check_item(entry, path, self._listening.format)
            return
        item_id = fields.name(fields.required(entry, "id", path), f"{path}.id")
        if item_id not in self._conversation:
            raise fields.invalid(f"{path}.id", "there is no item of this id in the conversation")

    def _respond(self, request: JsonObject) -> None:
        response = self._responses.start(Terms.of(self._session, request))
        self._brain.respond(response, request, self._now_ms)

    # ---- what the brain hears

    def _caller_speaks(self) -> None:
        speaking = self._responses.speaking
        if speaking is not None and self._session.interrupts_by_itself:
            speaking.stop("turn_detected")
            self._brain.stopped(speaking.id)

    def _caller_took_turn(self) -> None:
        # While an answer speaks that must not be interrupted, the caller's turn waits for the client's word.
        if self._session.answers_by_itself and self._responses.speaking is None:
            self._respond({})


def _without_sound(item: JsonObject) -> JsonObject:
    """The item as it is kept: a client's own sound went to the brain, and it has it itself."""
    content = item.get("content")
    if not isinstance(content, list):
        return item
    parts: list[Json] = [
        {k: v for k, v in part.items() if k != "audio"} if isinstance(part, Mapping) else part for part in content
    ]
    return {**item, "content": parts}
