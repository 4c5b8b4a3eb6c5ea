"""The caller's sound on a Realtime socket."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pybase64
import pytest
from websockets.exceptions import ConnectionClosedOK

from gateway.softphone.lines.line import LineLost
from gateway.softphone.lines.realtime import RealtimeMouth


class Wire:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed = False

    async def send(self, text: str) -> None:
        if self.closed:
            raise ConnectionClosedOK(None, None)
        self.sent.append(text)


def test_sound_is_appended_to_the_input_until_the_socket_is_closed() -> None:
    async def main() -> None:
        wire = Wire()
        socket: Any = wire
        mouth = RealtimeMouth(socket)
        await mouth.speak(b"\x01\x00\x02\x00")
        message = orjson.loads(wire.sent[0])
        assert (message["type"], pybase64.b64decode(message["audio"])) == (
            "input_audio_buffer.append",
            b"\x01\x00\x02\x00",
        )
        wire.closed = True
        with pytest.raises(LineLost):
            await mouth.speak(b"\x01\x00")

    asyncio.run(main())
