"""The caller's microphone: sound goes out in 20 ms frames in real time, silence where nothing is said.

A frame goes out when its last sample has been spoken, as it does from a real microphone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pybase64
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from audio.formats import PCM16_24K
from gateway.phone.plan import frames_of
from sessions.ports import Clock

FRAME_MS = 20
SILENCE = bytes(PCM16_24K.bytes_for_ms(FRAME_MS))


class Microphone:
    """Sends PCM16 24 kHz into an open call, each frame at its time, until it is `off`."""

    def __init__(self, socket: ClientConnection, clock: Clock, sent: bytearray) -> None:
        """The call begins now; `sent` takes all that goes out."""
        self._socket = socket
        self._clock = clock
        self._sent = sent
        self._begin_ms = clock.now_ms()
        self.off = False  # the call is over

    def now_ms(self) -> int:
        """The time since the call began."""
        return self._clock.now_ms() - self._begin_ms

    @property
    def spoken_ms(self) -> int:
        """Where the next frame will begin: how much has gone out."""
        return PCM16_24K.ms_of(len(self._sent) // 2)

    async def say(self, pcm: bytes) -> None:
        """Send this, however long it is."""
        for frame in frames_of(pcm, FRAME_MS):
            if self.off:
                break
            await self._send(frame.payload)

    async def silence_until(self, done: Callable[[int], bool], limit_s: float) -> bool:
        """Send silence until `done`, which is asked with the time in ms, or for so long; whether it came to that."""
        until_ms = self.now_ms() + round(limit_s * 1000)
        while not self.off and self.now_ms() < until_ms:
            if done(self.now_ms()):
                return True
            await self._send(SILENCE)
        return done(self.now_ms())

    async def silence_for(self, ms: int) -> None:
        """Send so much silence."""
        for _ in range(ms // FRAME_MS):
            if not self.off:
                await self._send(SILENCE)

    async def _send(self, pcm: bytes) -> None:
        """Send one frame at its end: the n-th frame of the call, counted from 1, goes out n frames after its start."""
        due_ms = PCM16_24K.ms_of((len(self._sent) + len(pcm)) // 2)
        message = {"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(pcm)}
        await asyncio.sleep(max(0, due_ms - self.now_ms()) / 1000)
        if self.off:  # the call ended while the frame was being spoken
            return
        try:
            await self._socket.send(orjson.dumps(message).decode())
        except ConnectionClosed:
            self.off = True
            return
        self._sent += pcm
