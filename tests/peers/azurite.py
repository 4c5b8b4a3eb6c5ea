"""Azurite, the emulator of Azure Blob Storage from npm, as a process of its own; and a proxy that cuts connections."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "peers" / "node" / "node_modules" / ".bin"
ACCOUNT = "patchbaytests"
KEY = b64encode(b"a key of the tests, 32 bytes long").decode()
READY_S = 60.0


@dataclass
class Azurite:
    """A running azurite; its data are in `folder`, or in memory if that is None."""

    program: str
    port: int
    folder: Path | None
    process: subprocess.Popen[bytes] | None = None

    def place(self, container: str | None = None, *, port: int | None = None, create: bool = True) -> str:
        """The setting of the blob store for a container, by default a new one; `port`: of a proxy before it."""
        name = container or f"c{uuid4().hex}"
        suffix = "?create=1" if create else ""
        return f"azblob+http://127.0.0.1:{port or self.port}/{ACCOUNT}/{name}{suffix}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        where = ["--inMemoryPersistence"] if self.folder is None else ["--location", str(self.folder)]
        self.process = subprocess.Popen(
            [self.program, "--blobPort", str(self.port), "--silent", "--disableTelemetry", *where],
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + READY_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.process.poll() is None, "azurite has ended"
            assert time.monotonic() < until, "azurite does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an operator does; killed by force, it would forget what it has just taken."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(READY_S)
            self.process = None


@contextmanager
def running_azurite(folder: Path | None = None) -> Iterator[Azurite]:
    """An azurite for the length of a test; it keeps its data in `folder`, or in memory."""
    program = shutil.which("azurite-blob", path=os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", "")]))
    if program is None:
        pytest.skip("azurite is not installed; run tests/peers/set_up.sh")
    azurite = Azurite(program, _free_port(), folder)
    azurite.start()
    try:
        yield azurite
    finally:
        azurite.stop()


def _free_port() -> int:
    """A port that the system gives to no client, so that a stopped azurite gets it back."""
    while True:
        port = random.randint(20_000, 30_000)
        with suppress(OSError), socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            return port


class Proxy:
    """Passes connections on, and cuts each after as many bytes towards the server as `allowed` says; None: never."""

    def __init__(self, target_port: int, allowed: Callable[[], int | None]) -> None:
        self._target_port = target_port
        self._allowed = allowed
        self.port = 0
        self.cuts = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        """Listen on a port of its own."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                back = tasks.create_task(_copy(there_reader, writer, None))
                if not await _copy(reader, there_writer, self._allowed()):
                    self.cuts += 1
                back.cancel()
        finally:
            for side in (writer, there_writer):
                side.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most_bytes: int | None) -> bool:
    """Copy until the source ends, or until so many bytes were copied; says whether the source has ended."""
    left = most_bytes
    with suppress(OSError):
        while left is None or left > 0:
            piece = await source.read(65536 if left is None else min(65536, left))
            if not piece:
                return True
            sink.write(piece)
            await sink.drain()
            left = None if left is None else left - len(piece)
        return False
    return True
