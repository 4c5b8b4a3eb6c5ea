"""The caller's microphone: sends sound in 20 ms frames in real time, and silence in between.

A frame is sent when its last sample has been spoken, as a real microphone would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from audio.formats import PCM16_24K
from gateway.softphone.lines.line import LineLost, Mouth
from gateway.softphone.plan import frames_of
from sessions.ports import Clock

FRAME_MS = 20
SILENCE = bytes(PCM16_24K.bytes_for_ms(FRAME_MS))


class Microphone:
    """Sends 24 kHz PCM16 into an open call, each frame at its time, until it is `closed`."""

    def __init__(self, mouth: Mouth, clock: Clock, sent: bytearray) -> None:
        """The call begins now; all sound that is sent is added to `sent`."""
        self._mouth = mouth
        self._clock = clock
        self._sent = sent
        self._begin_ms = clock.now_ms()
        self.closed = False  # the call is over

    def now_ms(self) -> int:
        """Milliseconds since the call began."""
        return self._clock.now_ms() - self._begin_ms

    @property
    def spoken_ms(self) -> int:
        """How many ms of sound were sent, which is where the next frame begins."""
        return PCM16_24K.ms_of(len(self._sent) // 2)

    async def say(self, pcm: bytes) -> None:
        """Send this sound in frames, however long it is."""
        for frame in frames_of(pcm, FRAME_MS):
            if self.closed:
                break
            await self._send(frame.payload)

    async def silence_until(self, done: Callable[[int], bool], limit_s: float) -> bool:
        """Send silence until `done(now_ms)` is true, for at most `limit_s`. Returns whether it became true."""
        until_ms = self.now_ms() + round(limit_s * 1000)
        while not self.closed and self.now_ms() < until_ms:
            if done(self.now_ms()):
                return True
            await self._send(SILENCE)
        return done(self.now_ms())

    async def silence_for(self, ms: int) -> None:
        """Send `ms` of silence."""
        for _ in range(ms // FRAME_MS):
            if not self.closed:
                await self._send(SILENCE)

    async def _send(self, pcm: bytes) -> None:
        """Send one frame when it ends: the n-th frame of the call, counted from 1, is sent n frames after its start."""
        due_ms = PCM16_24K.ms_of((len(self._sent) + len(pcm)) // 2)
        await asyncio.sleep(max(0, due_ms - self.now_ms()) / 1000)
        if self.closed:  # the call ended while the frame was being spoken
            return
        try:
            await self._mouth.speak(pcm)
        except LineLost:
            self.closed = True
            return
        self._sent += pcm
