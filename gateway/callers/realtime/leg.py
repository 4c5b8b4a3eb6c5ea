"""The caller's leg for a client that speaks the Realtime protocol.

It receives messages, decodes them, and hands their events to the call; it encodes the call's commands and sends them.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.view import ClientView
from gateway.legs.closing import BAD_INPUT_CODE, CLOSE_CODES, OWN_CLOSES
from gateway.legs.fast_path_end import REALTIME, FastPathEnd, SoundSource
from gateway.net.sockets import Socket
from sessions.commands import CallerCommand, EndCall, Play, Relay
from sessions.errors import WireError
from sessions.events import CallerEvent, HungUp
from sessions.fast_path import Speech

# So many milliseconds of speech may wait for the client; in PCM16 at 24 kHz and base64 this is 8 MiB.
MAX_UNSENT_MS = 131_072


class ClientFastPath(FastPathEnd):
    """A Realtime client's end of the fast path: its `append` messages, and speech that it sees unchanged."""

    protocol = REALTIME

    __slots__ = ("_codec", "_view", "socket")

    def __init__(self, codec: RealtimeCallerCodec, view: ClientView) -> None:
        super().__init__()
        self._codec = codec
        self._view = view
        self.socket: Socket | None = None

    def source(self, speech: Speech | None) -> SoundSource | None:
        """How the client's next messages bring the caller's sound."""
        return self._codec.source

    def sender(self, speech: Speech | None) -> Callable[[bytes], None] | None:
        """The socket's cheapest way to send, if the client sees the response's messages as the model sends them."""
        socket = self.socket
        if socket is None or speech is None or not self._view.unchanged(speech.response_id):
            return None
        return socket.fast_send()


def _no_call(event: CallerEvent) -> None:
    """Stands in for the call until there is one; the socket opens only afterwards, so no event gets here."""


class RealtimeCallerLeg:
    """One Realtime client.

    `deliver` takes its events. `log` gets each message that is not sound, both ways; None where no log is kept.
    """

    __slots__ = (
        "_codec",
        "_deliver",
        "_log",
        "_socket",
        "_view",
        "fast_path",
    )

    def __init__(
        self,
        codec: RealtimeCallerCodec,
        view: ClientView,
        deliver: Callable[[CallerEvent], None] = _no_call,
        log: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._codec = codec
        self._view = view
        self._deliver = deliver
        self._log = log
        self._socket: Socket | None = None
        self.fast_path = ClientFastPath(codec, view)

    def connect(self, deliver: Callable[[CallerEvent], None], log: Callable[[str, bytes], None] | None) -> None:
        """Connect the leg with the call that has begun on it, before its socket opens."""
        self._deliver, self._log = deliver, log

    def opened(self, socket: Socket) -> None:
        """The socket is open: send the session's first message, before the model's leg exists."""
        self._socket = self.fast_path.socket = socket
        self._send(self._codec.opening())

    def text(self, message: bytes) -> None:
        """Take one message."""
        if self.fast_path.carry(message):
            self._codec.strikes = 0
            return
        try:
            sound = self._codec.read_sound(message)
            if sound is not None:
                deliver = self._deliver  # calling through a local variable is quicker
                deliver(sound)
                return
            if self._log is not None:
                self.fast_path.flush()  # the log keeps everything in its order of arrival
                self._log("caller", message)
            read = self._codec.read(message)
        except WireError as error:
            self._send(self._codec.problem(error))
            self._after_work()
            return
        for reply in read.replies:
            self._send(reply)
        if read.event is not None:
            self._deliver(read.event)
        self._after_work()

    def binary(self, message: bytes) -> None:
        """Answer a binary message with an error: the protocol has none."""
        problem = WireError("Messages must be text: JSON, one event each.", code="invalid_event")
        self._send(self._codec.problem(problem))
        self._after_work()

    def lost(self, code: int, reason: str) -> None:
        """The connection has ended, with this close code."""
        socket, self._socket, self.fast_path.socket = self._socket, None, None
        ended_here = socket is not None and socket.ended_here
        self._deliver(HungUp(OWN_CLOSES.get(code, "caller_hung_up") if ended_here else "caller_hung_up"))

    def do(self, command: CallerCommand) -> None:
        """Send a command's messages, as far as this client may see them."""
        if type(command) is Play:
            self._codec.voice_used = True
            if self._socket is not None:
                self._socket.send_text(self._view.play(command))
            return
        for message in self._view.relay(command.event) if type(command) is Relay else self._view.encode(command):
            self._send(message)
        if type(command) is EndCall:
            self.close(CLOSE_CODES.get(command.reason, 1000), command.message)

    def close(self, code: int, reason: str) -> None:
        """Close the socket, if it is open."""
        if self._socket is not None:
            self._socket.close(code, reason)

    @property
    def overfull(self) -> bool:
        """Whether more than `MAX_UNSENT_MS` of speech waits for the client; all unsent bytes are counted as speech."""
        return self._socket is not None and self._unsent_ms(self._socket.unsent_bytes) > MAX_UNSENT_MS

    def _unsent_ms(self, unsent_bytes: int) -> int:
        format = self._codec.session.output_format
        return unsent_bytes * 3 // 4 * 1000 // format.bytes_for_ms(1000)  # base64 writes 3 bytes as 4

    def _send(self, message: bytes) -> None:
        if self._log is not None:
            self.fast_path.flush()
            self._log("gateway", message)
        if self._socket is not None:
            self._socket.send_text(message)

    def _after_work(self) -> None:
        """After a message that is more work than sound: close after too many bad ones, and let other sockets run."""
        self._close_if_exhausted()
        if self._socket is not None:
            self._socket.count_message()

    def _close_if_exhausted(self) -> None:
        if self._codec.exhausted:
            self.close(BAD_INPUT_CODE, "too many malformed messages in a row")
            self._deliver(HungUp("bad_input"))
