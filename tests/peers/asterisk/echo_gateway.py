"""A stand-in for the gateway that echoes the caller's sound, to prove the PBX and the telephone by themselves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

MEDIA = Subprotocol("media")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class EchoGateway:
    """What it has seen: forms of registrations, events as they came, and requests for media sockets."""

    http_port: int = 0
    audiosocket_port: int = 0
    media_port: int = 0
    forms: list[dict[str, str]] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path with query, and Authorization
    authorizations: list[str] = field(default_factory=list)
    busy: bool = False
    media_url: str | None = None  # where media sockets are dialled for registrations that ask for it
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    async def register(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer `POST /telephony/asterisk/calls`."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        form = (await reader.readexactly(int(headers["content-length"]))).decode()
        self.authorizations.append(headers.get("authorization", ""))
        self.forms.append({name: values[0] for name, values in parse_qs(form, keep_blank_values=True).items()})
        if self.busy:
            writer.write(BUSY)
        else:
            call_id = str(uuid4())
            self.call_ids.append(call_id)
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(call_id)}\r\nConnection: close\r\n\r\n{call_id}".encode()
            )
            media_id = self.forms[-1].get("media_id")
            if media_id is not None:
                job = asyncio.get_running_loop().create_task(self._dial(media_id))
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)
        writer.close()

    async def audiosocket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send each frame of sound back."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(3)
                payload = await reader.readexactly(int.from_bytes(head[1:], "big"))
                if head[0] >= 0x10:
                    writer.write(head + payload)
                else:
                    self.events.append((head[0], payload))
        self.events.append("closed")
        writer.close()

    async def media(self, socket: ServerConnection) -> None:
        """Send each binary message of a socket that Asterisk has dialled back."""
        assert socket.request is not None
        self.requests.append((socket.request.path, socket.request.headers.get("Authorization")))
        await self._echo(socket)

    async def _dial(self, media_id: str) -> None:
        url = f"{self.media_url}/media/{media_id}"
        async with connect(url, subprotocols=[MEDIA], ping_interval=None, compression=None) as socket:
            await self._echo(socket)

    async def _echo(self, socket: ClientConnection | ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in socket:
                if isinstance(message, bytes):
                    await socket.send(message)
                else:
                    self.events.append(json.loads(message) if message.startswith("{") else message)
        self.events.append(socket.close_code)


@contextmanager
def echo_gateway() -> Iterator[EchoGateway]:
    """A stand-in on free ports of loopback, in a thread of its own."""
    gateway = EchoGateway()
    loop = asyncio.new_event_loop()
    started, ended = threading.Event(), asyncio.Event()

    async def main() -> None:
        register = await asyncio.start_server(gateway.register, "127.0.0.1", 0)
        audiosocket = await asyncio.start_server(gateway.audiosocket, "127.0.0.1", 0)
        async with (
            register,
            audiosocket,
            serve(gateway.media, "127.0.0.1", 0, subprotocols=[MEDIA], ping_interval=None, compression=None) as media,
        ):
            gateway.http_port = register.sockets[0].getsockname()[1]
            gateway.audiosocket_port = audiosocket.sockets[0].getsockname()[1]
            gateway.media_port = next(iter(media.sockets)).getsockname()[1]
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield gateway
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
