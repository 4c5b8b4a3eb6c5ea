"""A server in this process, and a client without a WebSocket library, for the socket tests.

Each socket test runs on every `Wire`: plain TCP and TLS, each on the server's own loop and on asyncio's.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import ssl
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiofastnet
import uvloop
from fastapi import FastAPI, Request

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.media_routes import Accepted, MediaRoute
from gateway.net.server import Drain, DrainHooks, PatchbayServer, ServerOptions
from gateway.net.sockets import Socket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LOOPS = {"uvloop": aiofastnet.loop_factory(uvloop.new_event_loop), "asyncio": asyncio.new_event_loop}


@dataclass(frozen=True, slots=True)
class Wire:
    """The transport of a test's sockets: the loop on both sides, and whether it uses TLS."""

    loop: str
    tls: bool

    def url(self, port: int, path: str = "/media", *, http: bool = False) -> str:
        """An address of the test's server."""
        return f"{'http' if http else 'ws'}{'s' if self.tls else ''}://127.0.0.1:{port}{path}"

    @property
    def client_tls(self) -> ssl.SSLContext | None:
        """For clients; None without TLS."""
        return trusting() if self.tls else None

    @property
    def server_tls(self) -> ssl.SSLContext | None:
        """For servers of other libraries; None without TLS."""
        return showing() if self.tls else None


WIRES = {f"{loop}{'-tls' if tls else ''}": Wire(loop, tls) for loop in LOOPS for tls in (False, True)}
PLAIN = WIRES["uvloop"]
_wires = [PLAIN]  # the last one is that of the running test


@functools.cache
def certificate() -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    cert, key = Path(folder.name) / "cert.pem", Path(folder.name) / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*made, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


@functools.cache
def trusting() -> ssl.SSLContext:
    """TLS for clients that trust this certificate."""
    return ssl.create_default_context(cafile=str(certificate()[0]))


@functools.cache
def showing() -> ssl.SSLContext:
    """TLS for servers with this certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate())
    return made


def run(main: Callable[[], Coroutine[Any, Any, None]], wire: Wire = PLAIN, *, within_s: float = 10.0) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await main()

    _wires.append(wire)
    try:
        with asyncio.Runner(loop_factory=LOOPS[wire.loop]) as runner:
            runner.run(bounded())
    finally:
        _wires.pop()


class CapturingReceiver:
    """A receiver that keeps what it receives. `echo` sends it back; `fail_on` raises for one text."""

    def __init__(self, *, echo: bool = False, fail_on: bytes | None = None) -> None:
        self.echo = echo
        self.fail_on = fail_on
        self.socket: Socket | None = None
        self.received: list[tuple[str, bytes]] = []
        self.ends: list[tuple[int, str]] = []
        self.faults: list[BaseException] = []
        self.changed = asyncio.Event()

    def opened(self, socket: Socket) -> None:
        self.socket = socket
        self.changed.set()

    def text(self, message: bytes) -> None:
        assert self.socket is not None
        self.received.append(("text", message))
        self.changed.set()
        if message == self.fail_on:
            raise RuntimeError("the receiver failed")
        if self.echo:
            self.socket.send_text(message)

    def binary(self, message: bytes) -> None:
        assert self.socket is not None
        self.received.append(("binary", message))
        self.changed.set()
        if self.echo:
            self.socket.send_binary(message)

    def lost(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))
        self.changed.set()

    async def until(self, true: Callable[[], object]) -> None:
        while not true():
            self.changed.clear()
            await self.changed.wait()

    async def end(self) -> tuple[int, str]:
        await self.until(lambda: self.ends)
        return self.ends[0]


def route_to(receiver: CapturingReceiver, **extra: Any) -> MediaRoute[str]:
    async def admit(request: UpgradeRequest) -> str | Refusal:
        return "admitted"

    given: dict[str, Any] = {
        "path": "/media",
        "admit": admit,
        "accept": lambda admission, request: Accepted(receiver, receiver.faults.append),
        "release": lambda admission: None,
    }
    return MediaRoute(**{**given, **extra})


@asynccontextmanager
async def serving(
    routes: Sequence[MediaRoute[Any]], *, calls: DrainHooks | None = None, drain: Drain | None = None, **options: Any
) -> AsyncIterator[PatchbayServer]:
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "there"}

    @app.post("/size")
    async def size(request: Request) -> dict[str, int]:
        await asyncio.sleep(0.02)  # so that the body waits, and is read in pieces
        return {"bytes": len(await request.body())}

    wire = _wires[-1]
    cert, key = certificate() if wire.tls else (None, None)
    tls = {"tls_cert": str(cert), "tls_key": str(key)} if wire.tls else {}
    given = ServerOptions(port=0, loop=wire.loop, **tls, **options)
    server = PatchbayServer(app, routes, drain=drain or Drain(), calls=calls, options=given)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield server
        finally:
            while _raws:
                writer = _raws.pop().writer
                writer.close()
                writer.transport.abort()
                with suppress(OSError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), 2)
            server.stop()
            server.stop()
            await task


def frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, bit | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def upgrade_head(path: str = "/media", **changed: str | None) -> bytes:
    fields: dict[str, str | None] = {
        "host": "127.0.0.1",
        "upgrade": "websocket",
        "connection": "keep-alive, Upgrade",  # as Firefox writes it
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


_raws: list[Raw] = []  # closed when the server stops, as uvloop requires


class Raw:
    """A client that writes its bytes itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Raw:
        made = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=_wires[-1].client_tls))
        _raws.append(made)
        return made

    @classmethod
    async def upgraded(cls, port: int) -> Raw:
        raw = await cls.connect(port)
        status, _ = await raw.ask(upgrade_head())
        assert status == 101
        return raw

    async def ask(self, head: bytes) -> tuple[int, str]:
        """The status and the whole head of the answer."""
        self.writer.write(head)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return int(answer.split(" ")[1]), answer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def next_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of one unmasked, unfragmented frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0xF, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        while True:
            opcode, payload = await self.next_frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def eof(self) -> bool:
        try:
            return await self.reader.read() is not None
        except ConnectionResetError:
            return True
