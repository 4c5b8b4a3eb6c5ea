"""A model's leg over a WebSocket: OpenAI, Azure OpenAI (GA), and whatever else speaks the Realtime protocol.

Each message is decoded in the socket's callback and handed to the call at once. Source: OpenAI Realtime API reference;
Azure OpenAI "GPT Realtime API via WebSockets" (the GA address, `api-key` or an Entra token).
"""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from audio.runs import FrameRun
from gateway.dial import DialFailed, dial
from gateway.lane import CLOSED, SoundSource
from gateway.models.leg import ModelLeg
from gateway.models.realtime_calls import UsedNames
from gateway.models.realtime_codec import RealtimeModelCodec
from gateway.models.realtime_endings import closing, turned_away
from gateway.sockets import Socket
from sessions.commands import Configure, ModelCommand, SendAudio
from sessions.errors import WireError
from sessions.events import AgentAudio, ModelEvent, ModelLost
from sessions.ports import Ids
from sessions.setup import ModelSetup

log = logging.getLogger(__name__)

MAX_MALFORMED = 10  # messages of the model's, in a row
CONGESTED_BYTES = 256 * 1024  # waiting for the network; from here on caller's sound waits here, where it can be dropped
CONGESTED_CHECK_FRAMES = 16
HELD_MS = 5_000  # of caller's sound at most; the oldest goes
DIAL_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is, and how to be let in. `headers` is asked once for each connection: tokens expire."""

    url: str
    headers: Callable[[], Awaitable[Mapping[str, str]]]
    ssl_context: ssl.SSLContext | None
    voids: frozenset[str]  # session fields that this service is known not to take
    semantic_vad: bool  # False: it takes the setting and then never hears anybody (Azure), so server_vad is sent


class SoundHolder:
    """Caller's sound that a slow connection has not taken; bounded, the oldest goes first."""

    def __init__(self) -> None:
        self.waiting: deque[SendAudio] = deque()
        self._waiting_ms = 0
        self.dropped_ms = 0

    def hold(self, command: SendAudio) -> None:
        """Keep one frame."""
        self.waiting.append(command)
        self._waiting_ms += command.frame.duration_ms
        while self._waiting_ms > HELD_MS:
            oldest_ms = self.waiting.popleft().frame.duration_ms
            self._waiting_ms -= oldest_ms
            self.dropped_ms += oldest_ms

    def take(self) -> list[SendAudio]:
        """All that waits, in order; none remains."""
        taken = list(self.waiting)
        self.waiting.clear()
        self._waiting_ms = 0
        return taken


class RealtimeModelLeg:
    """One open session with a model. Also the receiver of its socket."""

    __slots__ = (
        "_closed",
        "_codec",
        "_deliver",
        "_frames",
        "_holder",
        "_malformed",
        "_socket",
        "lane",
    )

    def __init__(self, codec: RealtimeModelCodec, deliver: Callable[[ModelEvent], None]) -> None:
        self.lane = CLOSED
        self._codec = codec
        self._deliver = deliver
        self._socket: Socket | None = None
        self._closed = False
        self._malformed = 0
        self._frames = 0
        self._holder = SoundHolder()

    def opened(self, socket: Socket) -> None:
        """The socket is open."""
        self._socket = socket

    def text(self, message: bytes) -> None:
        """One message of the model's."""
        if self.lane.carry(message):
            self._malformed = 0
            return
        if b'"input_audio_buffer.' in message:
            self.lane.settle()  # its positions are counted in the caller's sound before it
        try:
            event = self._codec.decode(message)
        except WireError as problem:
            self._malformed += 1
            log.warning("malformed message from the model", extra={"why": problem.message})
            if self._malformed >= MAX_MALFORMED:
                self._end(ModelLost("ten malformed messages in a row", retryable=True))
            return
        self._malformed = 0
        if type(event) is AgentAudio:
            if not self._closed:
                deliver = self._deliver  # a call through an attribute that is no method is looked up the slow way
                deliver(event)
            return
        settings = self._codec.settings
        if settings.retry is not None and self._socket is not None:
            retry, settings.retry = settings.retry, None
            self._socket.send_text(retry)
        if type(event) is ModelLost:
            self._end(event)
        elif event is not None and not self._closed:
            self._deliver(event)

    def binary(self, message: bytes) -> None:
        """The protocol has no binary messages."""
        log.warning("binary message from the model")

    def lost(self, code: int, reason: str) -> None:
        """The model's side closed, or the line broke."""
        self._end(closing(code))

    def send(self, command: ModelCommand) -> None:
        """Write a command out."""
        socket = self._socket
        if socket is None:
            return
        if type(command) is SendAudio:
            self._frames += 1
            if self._holder.waiting or self._frames % CONGESTED_CHECK_FRAMES == 0:
                self._mind_congestion(socket, command)
            else:
                socket.send_text(self._codec.sound(command))
            return
        if self._holder.waiting:
            self._release(socket)
        for message in self._codec.encode(command):
            socket.send_text(message)

    def _mind_congestion(self, socket: Socket, command: SendAudio) -> None:
        if self._holder.waiting:
            self._holder.hold(command)
            if socket.unsent_bytes < CONGESTED_BYTES // 2:
                self._release(socket)
        elif socket.unsent_bytes > CONGESTED_BYTES:
            self._holder.hold(command)
        else:
            socket.send_text(self._codec.sound(command))

    def _release(self, socket: Socket) -> None:
        for held in self._holder.take():
            socket.send_text(self._codec.sound(held))

    def straight(self) -> Callable[[bytes], None] | None:
        """The socket's own way out, while the network takes what it is given."""
        socket = self._socket
        if socket is None or self._holder.waiting or socket.unsent_bytes > CONGESTED_BYTES:
            return None
        return socket.straight()

    def went(self, run: FrameRun) -> None:
        """Caller's sound was written straight."""
        self._codec.went(run)

    def source(self, response_id: str, item_id: str) -> SoundSource | None:
        """The speech of an item as the next messages bring it."""
        return self._codec.speech.source(response_id, item_id)

    def close(self) -> None:
        """Close the connection; nothing is delivered any more."""
        self._closed = True
        self.lane = CLOSED
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    @property
    def dropped_ms(self) -> int:
        """Caller's sound dropped because the connection was too slow."""
        return self._holder.dropped_ms

    def _end(self, lost: ModelLost) -> None:
        if not self._closed:
            self.close()
            self._deliver(lost)


class OpenAIRealtimeConnector:
    """Dials one model for one call, again if need be."""

    def __init__(self, endpoint: Endpoint, ids: Ids) -> None:
        self._endpoint = endpoint
        self._ids = ids
        self._used = UsedNames()

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        """Open a session and set it up; `ModelReady` comes when the model has confirmed. Raises LegLost."""
        endpoint = self._endpoint
        headers = await endpoint.headers()
        codec = RealtimeModelCodec(
            self._ids,
            speaks_given_text=False,
            voids=endpoint.voids,
            semantic_vad=endpoint.semantic_vad,
            used=self._used,
        )
        leg = RealtimeModelLeg(codec, deliver)
        try:
            await dial(
                endpoint.url,
                leg,
                headers=headers,
                ssl_context=endpoint.ssl_context,
                timeout_s=DIAL_TIMEOUT_S,
                on_fault=fault,
            )
        except DialFailed as failed:
            raise turned_away(failed) from None
        leg.send(Configure(setup))
        return leg
