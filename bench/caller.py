"""A caller of the load, which is a Realtime client, and the time window in which frames are counted."""

from __future__ import annotations

import asyncio
import math
import time
from array import array

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from bench import stamp

SESSION_UPDATE = (
    b'{"type":"session.update","session":{"type":"realtime","output_modalities":["audio"],"audio":{"input":{"format":'
    b'{"type":"audio/pcm","rate":24000},"turn_detection":{"type":"server_vad"}},"output":{"format":{"type":"audio/pcm",'
    b'"rate":24000}}}}}'
)
_HEAD = b'{"type":"input_audio_buffer.append","audio":"'
_TAILS = tuple(tail + b'"}' for tail in stamp.speech_tails())
_DELTA = b'"delta":"'
_SPACED_DELTA = b'"delta": "'
_REMEMBERED = 1024  # frames of a call that may be on their way: 20 seconds


class Window:
    """Counts what happens in a span of time. A frame counts if it was sent in that span, whenever it comes back."""

    def __init__(self) -> None:
        self.from_s = math.inf
        self.until_s = math.inf
        self.sent = 0
        self.back = 0
        self.doubled = 0
        self.crossed = 0
        self.errors = 0
        self.answers = 0
        self.round_trips_s = array("d")
        self.slips_s = array("d")

    def open(self) -> None:
        self.from_s = time.perf_counter()

    def close(self) -> None:
        self.until_s = time.perf_counter()

    def holds(self, moment_s: float) -> bool:
        return self.from_s <= moment_s < self.until_s


class Caller(WSListener):
    """One call. `number` is in every stamp; `window` may be replaced while the call runs."""

    def __init__(self, number: int, window: Window) -> None:
        self.number, self.window = number, window
        self.transport: WSTransport | None = None
        loop = asyncio.get_running_loop()
        self.created: asyncio.Future[float] = loop.create_future()
        self.updated: asyncio.Future[float] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.first_sound_s: float | None = None
        self.speaking = False
        self._frames = 0
        self._sent_s = [0.0] * _REMEMBERED

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.speaking = False
        self.transport = None
        if not self.gone.done():
            self.gone.set_result(None)
        for future in (self.created, self.updated):
            if not future.done():
                future.set_exception(ConnectionError("closed before the session was set up"))
                future.exception()  # retrieved here, because there may be no task that waits for it

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            if len(message) > stamp.FRAME_CHARS and self._take_sound(message):
                return
            self._take_other(message)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def configure(self) -> None:
        """Send the session update; `updated` is resolved by its answer."""
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, SESSION_UPDATE)

    def speak(self, due_s: float) -> None:
        """Send the next frame; `due_s` is when it should have been sent."""
        if not self.speaking or self.transport is None:
            return
        frame = self._frames
        self._frames += 1
        tail = _TAILS[frame % len(_TAILS)]
        now_s = time.perf_counter()
        self._sent_s[frame % _REMEMBERED] = now_s
        self.transport.send(WSMsgType.TEXT, _HEAD + stamp.encode(self.number, frame) + tail)
        window = self.window
        if window.holds(now_s):
            window.sent += 1
            window.slips_s.append(now_s - due_s)

    def hang_up(self) -> None:
        self.speaking = False
        if self.transport is not None:
            self.transport.send_close()

    def _take_sound(self, message: bytes) -> bool:
        """Take a delta of sound; False if the message is something else."""
        start = message.find(_DELTA)
        length = len(_DELTA)
        if start < 0:
            start, length = message.find(_SPACED_DELTA), len(_SPACED_DELTA)
        if start < 0:
            return False
        now_s = time.perf_counter()
        start += length
        window = self.window
        try:
            call, frame = stamp.decode(message[start : start + stamp.STAMP_CHARS])
        except ValueError:  # sound that this load did not send
            window.crossed += 1
            return True
        sent_s = self._sent_s[frame % _REMEMBERED]
        if call != self.number:
            window.crossed += 1
        elif sent_s == 0.0:
            window.doubled += 1
        else:
            self._sent_s[frame % _REMEMBERED] = 0.0
            if window.holds(sent_s):
                window.back += 1
                window.round_trips_s.append(now_s - sent_s)
            if self.first_sound_s is None:
                self.first_sound_s = now_s
        return True

    def _take_other(self, message: bytes) -> None:
        # The order of keys may differ, but every server puts the type near the front.
        front = message[:120].replace(b'": "', b'":"')
        if b'"type":"response.done"' in front:
            self.window.answers += 1
        elif b'"type":"error"' in front:
            self.window.errors += 1
        elif b'"type":"session.created"' in front and not self.created.done():
            self.created.set_result(time.perf_counter())
        elif b'"type":"session.updated"' in front and not self.updated.done():
            self.updated.set_result(time.perf_counter())
