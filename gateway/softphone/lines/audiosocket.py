"""A call as Asterisk carries it over AudioSocket: registered over HTTP, then frames on a TCP connection, at 8 kHz."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from audio.formats import PCM16_8K
from gateway.softphone.far_ends.audiosocket import AudioSocketFarEnd
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.lines.asterisk_registration import Announcement
from gateway.softphone.lines.gateway_http import Ask
from gateway.softphone.lines.line import LineLost, LineRefused, NowMs, Voice

CONNECT_S = 2.0  # as Asterisk
READ_BYTES = 64 * 1024


class AudioSocketLine:
    """One call of an exchange whose dialplan runs `AudioSocket()`."""

    protocol = "audiosocket"

    def __init__(self, announcement: Announcement, ask: Ask, host: str, port: int) -> None:
        """`host` and `port` are where the gateway listens for AudioSocket."""
        self.carrier_call_id = announcement.channel
        self._announcement = announcement
        self._ask = ask
        self._host = host
        self._port = port
        self._voice = Voice(PCM16_8K)
        self._far_end: AudioSocketFarEnd | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._now_ms: NowMs = lambda: 0.0
        self._hung_up = False

    @property
    def ear(self) -> Ear:
        """What the caller hears."""
        return self._dialled.ear

    async def dial(self) -> None:
        """Register the call, and connect."""
        self._far_end = AudioSocketFarEnd(await self._announcement.send(self._ask))
        try:
            async with asyncio.timeout(CONNECT_S):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:  # TimeoutError is one
            why = error.strerror or "no answer"
            raise LineRefused(
                f"nothing listens for AudioSocket at {self._host}:{self._port}: {why}; "
                "start the server with the same audiosocket_port"
            ) from error

    async def begin(self, now_ms: NowMs) -> None:
        """Send the call's UUID."""
        self._now_ms = now_ms
        await self._send(self._dialled.begin(now_ms()))

    async def speak(self, pcm: bytes) -> None:
        """Send 20 ms of 24 kHz PCM16. Raises LineLost."""
        await self._send(self._dialled.speak(self._voice.frame(pcm)))

    async def listen(self) -> str:
        """Play what comes until the connection has ended."""
        reader, far_end = self._reader, self._dialled
        assert reader is not None
        with suppress(ConnectionError):
            while not far_end.ended and (stream := await reader.read(READ_BYTES)):
                far_end.take(stream, self._now_ms())
        await self._close()
        return "the gateway hung up" if far_end.ended else "the gateway closed the connection"

    async def hang_up(self) -> None:
        """Close the connection, as Asterisk does."""
        await self._close()

    async def after(self) -> None:
        """Nothing: the exchange says no more."""

    def faults(self) -> list[str]:
        """What the gateway has done against the protocol, each thing once."""
        return [] if self._far_end is None else list(self._far_end.faults)

    @property
    def _dialled(self) -> AudioSocketFarEnd:
        assert self._far_end is not None
        return self._far_end

    async def _send(self, frame: bytes) -> None:
        writer = self._writer
        assert writer is not None
        if writer.is_closing():
            raise LineLost("the connection is closed")
        try:
            writer.write(frame)
            await writer.drain()
        except ConnectionError as error:
            raise LineLost("the connection is closed") from error

    async def _close(self) -> None:
        writer = self._writer
        if writer is not None and not self._hung_up:
            self._hung_up = True
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
