"""The socket of a far end that dials a live call a second time, as some carriers do when a connection breaks.

The call goes on over the new socket from its first message on. Until then it stays as it is: a socket that says nothing
or something wrong is closed, and costs the call nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.callers.phone.codec import CallRefused, FarEndEvent, MediaStarted, PhoneCodec
from gateway.callers.phone.receiver import START_MS, PhoneReceiver
from gateway.legs.closing import BAD_INPUT_CODE, MAX_STRIKES
from gateway.net.sockets import Socket
from gateway.timer import Alarm
from sessions.errors import WireError
from sessions.ports import Clock

log = logging.getLogger(__name__)


class RedialReceiver:
    """Holds the new socket until its first message has come, and then hands its messages to the call."""

    def __init__(self, call: PhoneReceiver, codec: PhoneCodec, clock: Clock) -> None:
        self._call = call
        self._codec = codec
        self._clock = clock
        self._socket: Socket | None = None
        self._alarm = Alarm(clock, self._on_time)
        self._start_by_ms = 0
        self._strikes = 0
        self._taken = False  # whether the call goes on over this socket

    def opened(self, socket: Socket) -> None:
        """The socket is open."""
        self._socket = socket
        for message in self._codec.opening():
            (socket.send_binary if self._codec.all_binary else socket.send_text)(message)
        self._start_by_ms = self._clock.now_ms() + START_MS
        self._alarm.set(self._start_by_ms)

    def text(self, message: bytes) -> None:
        """A text message has arrived."""
        self._read(self._codec.read_text, message)

    def binary(self, message: bytes) -> None:
        """A binary message has arrived."""
        self._read(self._codec.read_binary, message)

    def lost(self, code: int, reason: str) -> None:
        """The socket has ended."""
        self._socket = None
        self._alarm.close()
        if self._taken:
            self._call.lost_by(self, code)

    def fault(self, error: BaseException) -> None:
        """What the methods above raised; the call ends, if it goes on over this socket."""
        if self._taken:
            self._call.fault(error)
        else:
            self._turn_away("it failed before its first message")

    def _read(self, read: Callable[[bytes], FarEndEvent | None], message: bytes) -> None:
        if self._taken:
            self._call.read(read, message)
            return
        if self._socket is None or self._socket.closed:
            return
        try:
            self._first(read(message))
        except CallRefused as refusal:
            self._turn_away(str(refusal))
        except WireError:
            self._strikes += 1
            if self._strikes >= MAX_STRIKES:
                self._turn_away("too many malformed messages in a row")

    def _first(self, event: FarEndEvent | None) -> None:
        if event is None or self._socket is None:
            return
        if type(event) is not MediaStarted:
            raise WireError("The first message has not come yet.", code="wrong_order")
        self._taken = True  # a fault from here on is the call's
        try:
            self._call.take_over(self, self._socket, self._codec, event)
        except CallRefused:
            self._taken = False
            raise
        self._alarm.close()

    def _on_time(self) -> None:
        if not self._taken and self._clock.now_ms() >= self._start_by_ms:
            self._turn_away("the first message has not come in time")

    def _turn_away(self, why: str) -> None:
        log.warning("a telephone's second socket was turned away", extra={"why": why})
        self._alarm.close()
        if self._socket is not None:
            self._socket.close(BAD_INPUT_CODE, why)
