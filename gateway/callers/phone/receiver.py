"""The media socket of one telephone call, for every telephone protocol: a codec reads and writes its messages.

Until the far end has said what it sends, there is no call: the socket is held for `START_MS` at most, and nothing is
dialled. From then on the sound goes through the line in (`audio/line_in.py`) to the call, and the leg
(`gateway/legs/phone.py`) writes through this class.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

import orjson

from audio.playout import FarEndRules
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.codec import (
    CallRefused,
    Dropped,
    Echoed,
    FarEndEvent,
    FarEndSilent,
    Full,
    Heard,
    Holds,
    MediaStarted,
    PhoneCodec,
    Pressed,
    Stopped,
)
from gateway.callers.phone.line_feed import LineFeed
from gateway.calls.running import RunningCall
from gateway.guard import Guard, cause_of
from gateway.legs.closing import BAD_INPUT_CODE, CLOSE_CODES, MAX_STRIKES, OWN_CLOSES
from gateway.legs.phone import PhoneLeg
from gateway.net.messages import CloseCode
from gateway.net.sockets import Receiver, Socket
from gateway.timer import Alarm
from sessions.errors import WireError
from sessions.line_events import DigitPressed

log = logging.getLogger(__name__)

START_MS = 5_000  # the far end has so long to say what it sends


def _no_send(message: bytes) -> None:
    """Stands in for the socket's method while there is no socket."""


def _sender(socket: Socket, codec: PhoneCodec) -> Callable[[bytes], None]:
    """What sends a message with sound."""
    return socket.send_binary if codec.sound_is_binary or codec.all_binary else socket.fast_send()


class PhoneReceiver:
    """Holds the socket of an expected call until the call begins, and then carries its messages."""

    def __init__(self, expected: ExpectedCall, codec: PhoneCodec, calls: PhoneCalls) -> None:
        self._expected = expected
        self._codec = codec
        self._calls = calls
        self._clock = calls.clock
        self._socket: Socket | None = None
        self._send_sound: Callable[[bytes], None] = _no_send
        self._alarm = Alarm(calls.clock, self._on_time)
        self._start_by_ms: int | None = None  # while the far end has not said what it sends
        self._early: deque[bytes] = deque()  # sound from before the call
        self._leg: PhoneLeg | None = None  # once the call has begun
        self._line: LineFeed | None = None
        self._running: RunningCall | None = None
        self._strikes = 0
        self._heartbeat_due_ms: int | None = None
        self._rules: FarEndRules | None = None  # once the call has begun
        self._source: Receiver | None = None  # whose socket is the call's, if the far end has dialled again
        self._redial_by_ms: int | None = None  # while the far end may dial again
        self._ended = False

    # ---- the socket

    def opened(self, socket: Socket) -> None:
        """The socket is open."""
        self._socket = socket
        codec, now_ms = self._codec, self._clock.now_ms()
        self._send_sound = _sender(socket, codec)
        self._start_by_ms = now_ms + START_MS
        self._alarm.set(self._start_by_ms)
        self._write(codec.opening())
        if codec.heartbeat_ms is not None:
            self._heartbeat_due_ms = now_ms + codec.heartbeat_ms
            self._alarm.set(self._heartbeat_due_ms)

    def text(self, message: bytes) -> None:
        """A text message has arrived."""
        self._read(self._codec.read_text, message)

    def binary(self, message: bytes) -> None:
        """A binary message has arrived."""
        self._read(self._codec.read_binary, message)

    def lost(self, code: int, reason: str) -> None:
        """The socket has ended."""
        self.lost_by(self, code)

    def fault(self, error: BaseException) -> None:
        """What the methods above raised; the call ends, if there is one."""
        if self._running is not None:
            self._running.fault(error)
        else:
            log.error("a telephone's socket failed before its call began", extra=cause_of(error))

    # ---- a far end that dials again

    @property
    def live(self) -> bool:
        """Whether the call has begun and has not ended."""
        return self._leg is not None

    def take_over(self, source: Receiver, socket: Socket, codec: PhoneCodec, started: MediaStarted) -> None:
        """Carry the live call on over another socket, whose first message has come; the socket before it is dropped.

        From now on `source` hands its messages to `read` and its end to `lost_by`. Raises CallRefused where there is no
        live call, or where the sound's format is another than the call's.
        """
        leg, old = self._leg, self._socket
        if leg is None:
            raise CallRefused("the call has ended")
        if started.rules != self._rules:
            raise CallRefused("the sound is not in the call's format")
        self._source, self._socket, self._codec = source, socket, codec
        self._send_sound = _sender(socket, codec)
        self._redial_by_ms = None
        self._strikes = 0
        if old is not None:
            old.close(CloseCode.NORMAL, "another connection has taken the call over")
        leg.reopened()

    def read(self, read: Callable[[bytes], FarEndEvent | None], message: bytes) -> None:
        """A message has arrived, which a method of the codec reads."""
        self._read(read, message)

    def lost_by(self, source: Receiver, code: int) -> None:
        """The socket of `source` has ended; one that was dropped before is nothing to the call."""
        if source is not (self._source or self):
            return
        socket, self._socket = self._socket, None
        if self._ended:
            self._source = None  # so that no reference cycle is left
        if socket is not None and socket.ended_here:
            self._end(OWN_CLOSES.get(code, "caller_hung_up"))
        elif self._leg is not None and self._expected.redial_ms:
            self._send_sound = _no_send
            self._leg.hold(True)
            self._redial_by_ms = self._clock.now_ms() + self._expected.redial_ms
            self._alarm.set(self._redial_by_ms)
        else:
            self._end("caller_hung_up")

    def give_up(self, reason: str) -> None:
        """The far end has said elsewhere that the call is over, whatever its socket still does."""
        self._close(CloseCode.NORMAL, "")
        self._end(reason)

    # ---- what the leg writes

    def send_sound(self, payload: bytes) -> None:
        """Send sound to be played."""
        self._send_sound(self._codec.sound(payload))

    def send_clear(self) -> None:
        """Let the far end drop the sound that it holds."""
        self._write(self._codec.clear())

    def send_mark(self, name: str) -> None:
        """Ask for an echo of this name."""
        self._write((self._codec.mark(name),))

    def hang_up(self, reason: str) -> None:
        """Say goodbye and close the socket, for this end reason of the call."""
        self._write(self._codec.goodbye(reason))
        self._close(CLOSE_CODES.get(reason, CloseCode.NORMAL), "")
        self._tell_end(reason)

    # ---- reading

    def _read(self, read: Callable[[bytes], FarEndEvent | None], message: bytes) -> None:
        if self._ended:
            return
        try:
            event = read(message)
            if type(event) is Heard:
                self._heard(event.payload)
            elif event is not None:
                self._take(event)
        except WireError as error:
            self._strike(error.message)
            return
        except CallRefused as refusal:
            self._turn_away(str(refusal))
            return
        self._strikes = 0
        if type(event) is not Heard and self._socket is not None:
            self._socket.count_message()

    def _heard(self, payload: bytes) -> None:
        if self._line is None:
            self._keep_early(payload)
        else:
            self._line.sound(payload, self._clock.now_ms())

    def _keep_early(self, payload: bytes) -> None:
        """Keep sound that came before the call; how long it is, is not known yet, so 16-bit sound at 24 kHz counts."""
        if not self._codec.early_ms:
            raise WireError("Sound has come before the first message.", code="wrong_order")
        self._early.append(payload)
        while sum(map(len, self._early)) > self._codec.early_ms * 48:
            self._early.popleft()

    def _take(self, event: FarEndEvent) -> None:
        leg = self._leg
        if type(event) is MediaStarted:
            if leg is not None:
                raise WireError("The first message has come twice.", code="wrong_order")
            self._begin(event)
        elif type(event) is Stopped:
            self._close(CloseCode.NORMAL, "")
            self._end(event.reason)
        elif leg is None:
            raise WireError("The first message has not come yet.", code="wrong_order")
        elif type(event) is Pressed:
            leg.deliver(DigitPressed(event.digit))
        elif type(event) is Echoed:
            leg.echoed(event.name)
        elif type(event) is Full:
            leg.hold(event.full)
        elif type(event) is Holds:
            leg.holds(event.held_ms)
        elif type(event) is Dropped:
            leg.dropped(event.dropped_ms)

    def _begin(self, started: MediaStarted) -> None:
        """Begin the call."""
        self._start_by_ms = None
        self._leg, self._running = self._calls.begin(self._expected, started)
        self._rules = started.rules
        self._line = LineFeed(self._leg, started, self._calls.lines, self._clock.now_ms(), self.fault)
        self._leg.opened(self)
        while self._early:
            self._heard(self._early.popleft())

    # ---- time

    def _on_time(self) -> None:
        if not self._ended:
            with Guard(self.fault):
                self._on_deadlines(self._clock.now_ms())

    def _on_deadlines(self, now_ms: int) -> None:
        if self._start_by_ms is not None and now_ms >= self._start_by_ms:
            self._turn_away("the first message has not come in time")
            return
        if self._redial_by_ms is not None and now_ms >= self._redial_by_ms:
            self._end("caller_hung_up")
            return
        self._alarm.set(self._start_by_ms)
        self._alarm.set(self._redial_by_ms)
        if self._heartbeat_due_ms is not None:
            if now_ms >= self._heartbeat_due_ms:
                self._heartbeat_due_ms = now_ms + (self._codec.heartbeat_ms or 0)
                self._beat()
            self._alarm.set(self._heartbeat_due_ms)

    def _beat(self) -> None:
        try:
            self._write(self._codec.heartbeat())
        except FarEndSilent as silent:
            self._close(CloseCode.NORMAL, str(silent))
            self._end("caller_hung_up")

    # ---- the end

    def _strike(self, why: str) -> None:
        """Note a malformed message; after ten in a row, the call ends."""
        self._strikes += 1
        if self._leg is not None and self._running is not None and self._running.log is not None:
            self._leg.fast_path.flush()  # the log keeps everything in its order of arrival
            self._running.log("gateway", orjson.dumps({"type": "patchbay.bad_message", "why": why}))
        if self._strikes >= MAX_STRIKES:
            self._close(BAD_INPUT_CODE, "too many malformed messages in a row")
            self._end("bad_input")

    def _turn_away(self, why: str) -> None:
        log.warning("a telephone's socket was turned away", extra={"protocol": self._expected.protocol, "why": why})
        self._close(BAD_INPUT_CODE, why)
        self._end("bad_input")

    def _write(self, messages: Iterable[bytes]) -> None:
        if self._socket is None:
            return
        send = self._socket.send_binary if self._codec.all_binary else self._socket.send_text
        for message in messages:
            send(message)

    def _close(self, code: int, why: str) -> None:
        self._send_sound = _no_send
        if self._socket is not None:
            self._socket.close(code, why)

    def _end(self, reason: str) -> None:
        """The media socket is given up: the call ends, or the ticket is given back."""
        if self._ended:
            return
        leg, line = self._leg, self._line
        if leg is not None and line is not None:
            line.measure(self._clock.now_ms())
            leg.lost(reason)
        else:
            self._calls.release(self._expected.ticket)
        self._tell_end(reason)

    def _tell_end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._alarm.close()
        if self._line is not None:
            self._line.end()
        self._early.clear()
        self._send_sound = _no_send
        self._leg = self._line = None
        self._expected.on_end(reason)
