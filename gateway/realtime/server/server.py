"""The server half of the Realtime protocol: makes any `Brain` a server for Realtime clients.

It does no I/O: it takes messages and the time, and sends messages through `emit`. Its user supplies the socket, the
clock and the brain.
Source: OpenAI Realtime API reference (GA), server behaviour.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.realtime import owners, server_events
from gateway.realtime.client_events import decode_append, read_client_event
from gateway.realtime.scan import scan_append
from gateway.realtime.server.brain import BrainFactory
from gateway.realtime.server.event_sender import EventSender
from gateway.realtime.server.served_session import ServedSession
from gateway.realtime.session import AgentSide, EffectiveSession
from sessions.agent import TurnDetection
from sessions.errors import WireError
from sessions.ports import Ids

MAX_SESSION_MS = 60 * 60_000
MAX_MALFORMED = 10  # in a row
# Errors that ordinary races between a client and its server cause: they are answered, but do not count as malformed.
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
NO_AGENT = AgentSide(
    instructions="",
    tools=(),
    voice=None,
    speed=None,
    turn_detection=TurnDetection(),
    transcription=None,
    max_output_tokens=None,
)


class RealtimeServer:
    """One client's connection: decodes its messages for the session, answers errors, and enforces its time limit."""

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
        self._malformed = 0
        self._failure: str | None = None
        self._closed = False
        self._out = EventSender(ids, emit)
        settings = EffectiveSession.for_agent(NO_AGENT, ids.new("sess"), int(wall_s) + MAX_SESSION_MS // 1000, model)
        self._session = ServedSession(settings, may_set, brain_factory, self._out, now_ms)
        self._audio_input = self._session.audio_input
        self._brain = self._session.brain

    @property
    def failed(self) -> str | None:
        """Why the connection must be closed now: `malformed` or `session_expired`; None: it may stay open."""
        return self._failure

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next; None after the end."""
        if self._closed or self._failure is not None:
            return None
        brain_ms = self._brain.deadline_ms
        return self._ends_ms if brain_ms is None else min(brain_ms, self._ends_ms)

    def open(self, now_ms: int) -> None:
        """Send `session.created`."""
        self._now_ms = now_ms
        self._session.open(now_ms)

    def receive(self, text: bytes, now_ms: int) -> None:
        """Process one message. A message that breaks the protocol is answered with an `error` event."""
        if self._closed or self._failure is not None:
            return
        self._now_ms = now_ms
        try:
            self._read(text, now_ms)
        except WireError as problem:
            self._refuse(problem)
        else:
            self._malformed = 0

    def on_time(self, now_ms: int) -> None:
        """Do what is due at this time. An early call is harmless."""
        if self._closed or self._failure is not None:
            return
        self._now_ms = now_ms
        if now_ms >= self._ends_ms:
            self._failure = "session_expired"
            message = "Your session hit the maximum duration of 60 minutes."
            self._out.send(server_events.error, message, code="session_expired")
            return
        self._session.on_time(now_ms)

    def close(self) -> None:
        """The client has disconnected: nothing is emitted any more."""
        if not self._closed:
            self._closed = True
            self._session.close()

    def _read(self, text: bytes, now_ms: int) -> None:
        format = self._audio_input.format
        sound = scan_append(text)
        if sound is not None:
            try:
                payload = decode_append(sound, format)
            except WireError:
                # Parse the whole message, because the error names its event id.
                read_client_event(text, format)
                raise
            self._session.hear(payload, now_ms)
            return
        event = read_client_event(text, format)
        try:
            self._session.take(event, now_ms)
        except WireError as problem:
            problem.event_id = event.event_id
            raise

    def _refuse(self, problem: WireError) -> None:
        self._out.send(server_events.error_for, problem)
        if problem.code in RACES:
            return
        self._malformed += 1
        if self._malformed >= MAX_MALFORMED:
            self._failure = "malformed"
