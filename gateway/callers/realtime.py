"""The socket of a Realtime client: receive, decode, hand to the call, write out. The decisions are elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from gateway.callers.realtime_codec import RealtimeCallerCodec
from gateway.callers.realtime_view import ClientView
from gateway.lane import CLOSED, SoundSource
from gateway.socket_messages import CloseCode
from gateway.sockets import Socket
from sessions.commands import CallerCommand, EndCall, Play, Relay
from sessions.errors import WireError
from sessions.events import CallerEvent, HungUp

BAD_INPUT_CODE = 1008  # "do not try again", as the public clients understand it
CLOSE_CODES = {"model_lost": 1011, "server_fault": 1011, "bad_input": BAD_INPUT_CODE, "shutting_down": 1001}
# What our own end of the line says of the client. From its side the same code says no more than that it has gone.
LINE_ENDS: dict[int, str] = {
    CloseCode.PROTOCOL_ERROR: "bad_input",
    CloseCode.NOT_UTF8: "bad_input",
    CloseCode.TOO_BIG: "bad_input",
    CloseCode.OVERLOADED: "too_slow",
}


class RealtimeCallerLeg:
    """One Realtime client. `deliver` takes its events; `log` gets each message that is not sound, where it is kept."""

    __slots__ = (
        "_codec",
        "_deliver",
        "_log",
        "_socket",
        "_view",
        "lane",
    )

    def __init__(
        self,
        codec: RealtimeCallerCodec,
        view: ClientView,
        deliver: Callable[[CallerEvent], None],
        log: Callable[[str, bytes], None] | None,
    ) -> None:
        self._codec = codec
        self._view = view
        self._deliver = deliver
        self._log = log
        self._socket: Socket | None = None
        self.lane = CLOSED

    def opened(self, socket: Socket) -> None:
        """The socket is open: the client is greeted by the protocol before the model's leg exists."""
        self._socket = socket
        self._send(self._codec.opening())

    def text(self, message: bytes) -> None:
        """One message."""
        if self.lane.carry(message):
            self._codec.strikes = 0
            return
        try:
            sound = self._codec.read_sound(message)
            if sound is not None:
                deliver = self._deliver  # a call through an attribute that is no method is looked up the slow way
                deliver(sound)
                return
            if self._log is not None:
                self.lane.settle()  # the log has all in the order of arrival
                self._log("caller", message)
            read = self._codec.read(message)
        except WireError as error:
            self._send(self._codec.problem(error))
            self._dealt_with()
            return
        for reply in read.replies:
            self._send(reply)
        if read.event is not None:
            self._deliver(read.event)
        self._dealt_with()

    def binary(self, message: bytes) -> None:
        """The protocol has no binary messages."""
        problem = WireError("Messages must be text: JSON, one event each.", code="invalid_event")
        self._send(self._codec.problem(problem))
        self._dealt_with()

    def lost(self, code: int, reason: str) -> None:
        """The client is gone."""
        socket, self._socket = self._socket, None
        ended_here = socket is not None and socket.ended_here
        self._deliver(HungUp(LINE_ENDS.get(code, "caller_hung_up") if ended_here else "caller_hung_up"))

    def do(self, command: CallerCommand) -> None:
        """Write a command out, as the client may see it."""
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

    def source(self) -> SoundSource | None:
        """The caller's sound as the next messages bring it."""
        return self._codec.source

    def straight(self, response_id: str) -> Callable[[bytes], None] | None:
        """The socket's own way out, where the client sees the response's messages as they come."""
        socket = self._socket
        if socket is None or not self._view.unchanged(response_id):
            return None
        return socket.straight()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._socket.unsent_bytes if self._socket is not None else 0

    def _send(self, message: bytes) -> None:
        if self._log is not None:
            self.lane.settle()
            self._log("gateway", message)
        if self._socket is not None:
            self._socket.send_text(message)

    def _dealt_with(self) -> None:
        self._give_up_on_nonsense()
        if self._socket is not None:
            self._socket.worked()

    def _give_up_on_nonsense(self) -> None:
        if self._codec.exhausted:
            self.close(BAD_INPUT_CODE, "too many malformed messages in a row")
            self._deliver(HungUp("bad_input"))
