"""The telephones of the load: a stream as Twilio carries it, and a channel as Asterisk's AudioSocket does.

What happens before the sound differs: at the gateway a webhook or a registration opens the call, at a floor the socket
alone does. From then on a telephone sends a frame each time it is told to, and notes what comes back.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Protocol, cast
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import orjson
import pybase64
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from audio.formats import PCM16_8K, PCMU_8K
from bench.phone_sound import BURST_EVERY, LoudSound, frames
from gateway.softphone.far_ends.twilio import TwilioStream
from gateway.softphone.far_ends.twilio_requests import StreamOrder, TwilioCaller, TwimlRefused, read_twiml

TWILIO, AUDIOSOCKET = "twilio", "audiosocket"
ACCOUNT, TOKEN = "ACbench", "bench-token"  # of an account that does not exist
CALLED = "+15550100"
HTTP_ANSWER_BYTES = 64 * 1024
_PAYLOAD = b'"payload":"'
_MARK = b'"event":"mark"'
_BURST_MS = BURST_EVERY * 20
_SOUND_KIND = 0x10
_ID_HEAD = b"\x01\x00\x10"
_SOUND_HEAD = b"\x10\x01\x40"


class CallRefused(Exception):
    """The server has refused the call; the text is its status."""


class Telephone(Protocol):
    """One caller of the load."""

    heard: Heard
    open: bool

    def speak(self, due_s: float) -> None:
        """Send the next frame; `due_s` is when it should have been sent."""
        ...

    def hang_up(self) -> None:
        """End the call."""
        ...


class Heard:
    """What one telephone has sent and heard while it is measured."""

    def __init__(self, number: int, loud: LoudSound, sample_bytes: int) -> None:
        self.measured = False
        self.sent = self.bursts = self.bursts_back = self.back_bytes = self.messages = 0
        self.round_trips_s = array("d")
        self.slips_s = array("d")
        self.arrivals_s = array("d")
        self._loud = loud
        self._frames = number  # so that the loud frames of all calls are spread in time
        self._sample_bytes = sample_bytes
        self._burst_s: float | None = None  # when the last loud frame was sent, until it is back
        self._counts = False  # whether that frame was sent while measured
        self._quiet_bytes = 0  # since the last loud sound

    def next_is_burst(self, due_s: float) -> bool:
        """Count a frame that is sent now; whether it is a loud one."""
        now_s = time.perf_counter()
        self._frames += 1
        burst = self._frames % BURST_EVERY == 0
        if burst:
            self._burst_s, self._counts = now_s, self.measured
        if self.measured:
            self.sent += 1
            self.bursts += burst
            self.slips_s.append(now_s - due_s)
        return burst

    def sound(self, payload: bytes) -> None:
        """Note sound that has come."""
        now_s = time.perf_counter()
        if self.measured:
            self.back_bytes += len(payload)
            self.messages += 1
            self.arrivals_s.append(now_s)
        if not self._loud.within(payload):
            self._quiet_bytes += len(payload)
            return
        new = self._quiet_bytes >= _BURST_MS // 2 * 8 * self._sample_bytes
        self._quiet_bytes = 0
        if new and self._burst_s is not None:
            if self._counts:
                self.bursts_back += 1
                self.round_trips_s.append(now_s - self._burst_s)
            self._burst_s = None

    @property
    def back_ms(self) -> float:
        return self.back_bytes / (8 * self._sample_bytes)


class TwilioTelephone(WSListener):
    """A call over Twilio's media stream. Marks are echoed as soon as they come."""

    def __init__(self, number: int, stream: TwilioStream) -> None:
        self.heard = Heard(number, LoudSound(PCMU_8K), PCMU_8K.sample_bytes)
        self.open = False
        self._stream = stream
        self._transport: WSTransport | None = None
        self._quiet, self._loud = frames(PCMU_8K)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport, self.open = transport, True
        for message in self._stream.begin():
            transport.send(WSMsgType.TEXT, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport, self.open = None, False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            begin = message.find(_PAYLOAD)
            if begin >= 0:
                begin += len(_PAYLOAD)
                self.heard.sound(pybase64.b64decode(message[begin : message.index(b'"', begin)]))
            elif _MARK in message:
                transport.send(WSMsgType.TEXT, message)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def speak(self, due_s: float) -> None:
        if self._transport is not None:
            payload = self._loud if self.heard.next_is_burst(due_s) else self._quiet
            for message in self._stream.speak(payload):
                self._transport.send(WSMsgType.TEXT, message)

    def hang_up(self) -> None:
        if self._transport is not None:
            for message in self._stream.stop():
                self._transport.send(WSMsgType.TEXT, message)
            self._transport.send_close()


class AudioSocketTelephone(asyncio.Protocol):
    """A call over AudioSocket, with 16-bit sound at 8 kHz."""

    def __init__(self, number: int, call_id: UUID) -> None:
        self.heard = Heard(number, LoudSound(PCM16_8K), PCM16_8K.sample_bytes)
        self.open = False
        self._call_id = call_id
        self._transport: asyncio.Transport | None = None
        self._received = b""
        quiet, loud = frames(PCM16_8K)
        self._quiet, self._loud = _SOUND_HEAD + quiet, _SOUND_HEAD + loud

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = cast(asyncio.Transport, transport), True
        self._transport.write(_ID_HEAD + self._call_id.bytes)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self.open = None, False

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at = 0
        while len(received) - at >= 3:
            end = at + 3 + (received[at + 1] << 8 | received[at + 2])
            if end > len(received):
                break
            if received[at] == _SOUND_KIND:
                self.heard.sound(received[at + 3 : end])
            at = end
        self._received = received[at:]

    def speak(self, due_s: float) -> None:
        if self._transport is not None:
            self._transport.write(self._loud if self.heard.next_is_burst(due_s) else self._quiet)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def call_twilio(number: int, url: str, web: str | None) -> TwilioTelephone:
    """A call by its webhook at `web`; without one, over the socket at `url`. Raises OSError, WSError, CallRefused."""
    caller = TwilioCaller(ACCOUNT, f"CA{number:032}", TOKEN, f"+1555{number:07}", CALLED)
    order = StreamOrder(url, None, {}, None, True)
    if web is not None:
        at = f"{web}/telephony/twilio/voice"
        request = caller.rings(at)
        try:
            order = read_twiml(await post(at, request.headers, request.body))
        except TwimlRefused as error:
            raise CallRefused(str(error)) from None
    stream = TwilioStream(
        account_sid=ACCOUNT, call_sid=caller.call_sid, stream_sid=f"MZ{number:032}", parameters=order.parameters
    )
    telephone = TwilioTelephone(number, stream)
    headers = None if web is None else caller.handshake(order)
    await ws_connect(lambda: telephone, order.url, extra_headers=headers, max_frame_size=1 << 20)
    return telephone


async def call_audiosocket(number: int, url: str, web: str | None) -> AudioSocketTelephone:
    """A call that is registered at `web`, if given, over the connection at `url`. Raises OSError and CallRefused."""
    call_id = UUID(int=number)
    if web is not None:
        form = {"caller": f"+1555{number:07}", "called": CALLED, "channel": f"bench.{number}", "format": "slin"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        text = await post(f"{web}/telephony/asterisk/calls", headers, urlencode(form).encode())
        call_id = UUID(text.decode("ascii"))
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    telephone = AudioSocketTelephone(number, call_id)
    await asyncio.get_running_loop().create_connection(lambda: telephone, where.hostname, where.port)
    return telephone


async def post(url: str, headers: dict[str, str], body: bytes) -> bytes:
    """The body of the answer to a request. Raises OSError, and CallRefused for any status but 200."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=HTTP_ANSWER_BYTES)
    try:
        more = {"Host": where.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(f"POST {where.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = await reader.read(-1)
    finally:
        writer.close()
    front, _, content = answer.partition(b"\r\n\r\n")
    status = front.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise CallRefused(f"HTTP {status[0].decode() if status else 'nothing'}")
    return content


def echo_of(message: bytes) -> bytes | None:
    """What a far end's media message is answered with by a floor: the same sound, as a server sends it."""
    begin = message.find(_PAYLOAD)
    if begin < 0:
        return None
    stream_sid = orjson.loads(message)["streamSid"].encode()
    return b'{"event":"media","streamSid":"%b","media":{%b}}' % (stream_sid, message[begin : message.rindex(b'"') + 1])
