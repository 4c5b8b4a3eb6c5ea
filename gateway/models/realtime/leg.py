"""A model's leg over a WebSocket: OpenAI, Azure OpenAI (GA), and whatever else speaks the Realtime protocol.

Each message is decoded in the socket's callback and handed to the call at once.
Source: OpenAI Realtime API reference; Azure OpenAI "GPT Realtime API via WebSockets" (the GA address, with an `api-key`
or an Entra token).
"""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from audio.formats import AudioFormat, AudioFrame
from audio.runs import FrameRun
from gateway.legs.fast_path_end import REALTIME, FastPathEnd, SoundSource
from gateway.legs.model import ModelLeg
from gateway.models.realtime.call_ids import UsedNames
from gateway.models.realtime.codec import RealtimeModelCodec, not_understood
from gateway.models.realtime.endings import closing, turned_away
from gateway.net.dial import DialFailed, dial
from gateway.net.sockets import Socket
from sessions.accounts import LegError
from sessions.commands import Configure, ModelCommand, SendAudio
from sessions.errors import WireError
from sessions.events import AgentAudio, ModelEvent, ModelLost
from sessions.fast_path import Speech
from sessions.ports import Ids
from sessions.setup import ModelSetup

log = logging.getLogger(__name__)

# So many malformed messages of the model in a row end the leg.
MAX_MALFORMED = 10
# With more bytes than this unsent, caller sound is held in the leg, where it can still be dropped.
CONGESTED_BYTES = 256 * 1024
CONGESTED_CHECK_FRAMES = 16
# The leg holds at most so much caller sound; then the oldest frames are dropped.
HELD_MS = 5_000
DIAL_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model's address and credentials. `headers` is asked again for each connection, because tokens expire."""

    url: str
    headers: Callable[[], Awaitable[Mapping[str, str]]]
    ssl_context: ssl.SSLContext | None
    voids: frozenset[str]  # session fields that this service is known to refuse
    # False: server_vad is sent instead. Azure accepts semantic_vad, and then never reports speech.
    semantic_vad: bool


class SoundHolder:
    """Caller sound that waits because the connection is slow: at most `HELD_MS`, then the oldest is dropped."""

    def __init__(self) -> None:
        self.waiting: deque[SendAudio] = deque()
        self._waiting_ms = 0
        self.dropped_ms = 0

    def hold(self, command: SendAudio) -> None:
        """Keep one frame, and drop the oldest where there are too many."""
        self.waiting.append(command)
        self._waiting_ms += command.frame.duration_ms
        while self._waiting_ms > HELD_MS:
            oldest_ms = self.waiting.popleft().frame.duration_ms
            self._waiting_ms -= oldest_ms
            self.dropped_ms += oldest_ms

    def take(self) -> list[SendAudio]:
        """Remove and return all that waits, in order."""
        taken = list(self.waiting)
        self.waiting.clear()
        self._waiting_ms = 0
        return taken


class ModelFastPath(FastPathEnd):
    """A Realtime model's end of the fast path: its audio deltas, and caller sound while the network keeps up."""

    protocol = REALTIME

    __slots__ = ("_codec", "_holder", "socket")

    def __init__(self, codec: RealtimeModelCodec, holder: SoundHolder) -> None:
        super().__init__()
        self._codec = codec
        self._holder = holder
        self.socket: Socket | None = None

    def source(self, speech: Speech | None) -> SoundSource | None:
        """How the model's next messages bring an item's speech; None where their form is not known yet."""
        return None if speech is None else self._codec.speech.source(speech.response_id, speech.item_id)

    def sender(self, speech: Speech | None) -> Callable[[bytes], None] | None:
        """The socket's cheapest way to send, while the connection is not congested."""
        socket = self.socket
        if socket is None or self._holder.waiting or socket.unsent_bytes > CONGESTED_BYTES:
            return None
        return socket.fast_send()

    def note_sent(self, run: FrameRun) -> None:
        """Count caller sound that was written to the model: the model counts its positions in it."""
        self._codec.note_sent(run)

    def frame_sender(self, speech: Speech | None, format: AudioFormat) -> Callable[[AudioFrame], None] | None:
        """Write caller sound into messages, in the session's format."""
        send, message_of, inward = self.sender(speech), self._codec.frame, self.inward(format)
        if send is None:
            return None
        if inward is None:
            return lambda frame: send(message_of(frame))
        return lambda frame: send(message_of(inward(frame)))


class RealtimeModelLeg:
    """One open session with a model, and the receiver of its socket's messages."""

    __slots__ = (
        "_closed",
        "_codec",
        "_deliver",
        "_frames",
        "_holder",
        "_malformed",
        "_socket",
        "fast_path",
    )

    def __init__(self, codec: RealtimeModelCodec, deliver: Callable[[ModelEvent], None]) -> None:
        self._codec = codec
        self._deliver = deliver
        self._socket: Socket | None = None
        self._closed = False
        self._malformed = 0
        self._frames = 0
        self._holder = SoundHolder()
        self.fast_path = ModelFastPath(codec, self._holder)

    def opened(self, socket: Socket) -> None:
        """The socket is open."""
        self._socket = self.fast_path.socket = socket

    def text(self, message: bytes) -> None:
        """Take one message of the model."""
        if self.fast_path.carry(message):
            self._malformed = 0
            return
        if b'"input_audio_buffer.' in message:
            self.fast_path.flush()  # the positions in it are counted in the caller sound before it
        try:
            event = self._codec.decode(message)
        except WireError as problem:
            self._malformed += 1
            log.warning("malformed message from the model", extra={"why": problem.message})
            if self._malformed >= MAX_MALFORMED:
                self._end(ModelLost("ten malformed messages in a row", retryable=True, error=LegError.PROTOCOL))
            return
        self._malformed = 0
        if type(event) is AgentAudio:
            if not self._closed:
                deliver = self._deliver  # calling through a local variable is quicker
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
        """Ignore a binary message: the protocol has none."""
        log.warning("binary message from the model")

    def lost(self, code: int, reason: str) -> None:
        """The connection has ended: the model closed it, or it broke."""
        self._end(closing(code))

    def send(self, command: ModelCommand) -> None:
        """Send a command's messages."""
        socket = self._socket
        if socket is None:
            return
        if type(command) is SendAudio:
            self._frames += 1
            if self._holder.waiting or self._frames % CONGESTED_CHECK_FRAMES == 0:
                self._send_or_hold(socket, command)
            else:
                socket.send_text(self._codec.sound(command))
            return
        if self._holder.waiting:
            self._release(socket)
        refusal = not_understood(command)
        if refusal is not None:
            self._deliver(refusal)
        for message in self._codec.encode(command):
            socket.send_text(message)

    def _send_or_hold(self, socket: Socket, command: SendAudio) -> None:
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

    def close(self) -> None:
        """Close the connection; no event is delivered after this."""
        self._closed = True
        self.fast_path.close()
        socket, self._socket, self.fast_path.socket = self._socket, None, None
        if socket is not None:
            socket.close()

    @property
    def dropped_ms(self) -> int:
        """Caller sound dropped so far because the connection was too slow."""
        return self._holder.dropped_ms

    def _end(self, lost: ModelLost) -> None:
        if not self._closed:
            self.close()
            self._deliver(lost)


class OpenAIRealtimeConnector:
    """Dials one model for one call, as often as the call asks for it."""

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
        """Open a session and set it up; `ModelReady` follows when the model confirms the setup. Raises LegLost."""
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
