"""The caller's sound on a Realtime socket."""

from __future__ import annotations

import orjson
import pybase64
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.softphone.lines.line import LineLost


class RealtimeMouth:
    """Sends the caller's sound as events of the Realtime protocol, at 24 kHz."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def speak(self, pcm: bytes) -> None:
        """Send 24 kHz PCM16. Raises LineLost."""
        message = {"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(pcm)}
        try:
            await self._socket.send(orjson.dumps(message).decode())
        except ConnectionClosed as error:
            raise LineLost("the socket is closed") from error
