"""Each answer is here whole as soon as its last byte is, however large its pieces are and however long nothing follows.

The peer is a thread with a blocking socket of another library, so that nothing of this process's loop drives it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol

import pytest
from peers.socket_harness import Ear, Wire, route_to, run, serving
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from gateway.dial import dial

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

SIZES = (1_000, 16_000, 16_384, 17_000, 25_000, 64_000, 65_536, 100_000, 300_000)
ANSWERS = 150
LATE_MS = 100.0
GIVE_UP_S = 5.0


class Sends(Protocol):
    """What both sides of that library can do."""

    def send(self, message: bytes) -> None:
        """One message."""


class Listener(Ear):
    """Notes when each answer's last message was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_at_s = 0.0
        self.whole = threading.Event()

    def binary(self, message: bytes) -> None:
        if message[-1:] == b"!":
            self.heard_at_s = time.monotonic()
            self.whole.set()


def speak(socket: Sends, ear: Listener) -> list[float]:
    """Send the answers, each once the last was heard. How late each came, in ms."""
    late_ms = []
    for number in range(ANSWERS):
        size = SIZES[number % len(SIZES)]
        for _ in range(number % 3):
            socket.send(b"-" * size)
        ear.whole.clear()
        socket.send(b"-" * (size - 1) + b"!")
        sent_at_s = time.monotonic()
        assert ear.whole.wait(GIVE_UP_S), f"answer {number}, of {size} bytes, did not come"
        late_ms.append((ear.heard_at_s - sent_at_s) * 1000)
    return late_ms


async def judge(what: str, speaking: Callable[[], list[float]]) -> None:
    late_ms = sorted(await asyncio.to_thread(speaking))
    print(f"{what}: {len(late_ms)} answers, median {late_ms[len(late_ms) // 2]:.1f} ms, last {late_ms[-1]:.1f} ms")
    assert len(late_ms) == ANSWERS
    assert late_ms[-1] < LATE_MS


def test_a_callers_messages_are_never_late(wire: Wire) -> None:
    async def main() -> None:
        ear = Listener()

        def call(port: int) -> list[float]:
            with connect(wire.url(port), ssl=wire.client_tls, compression=None) as socket:
                return speak(socket, ear)

        async with serving([route_to(ear)]) as server:
            await judge(f"caller, {wire}", lambda: call(server.bound_port))

    run(main, wire, within_s=60)


def test_a_models_messages_are_never_late(wire: Wire) -> None:
    async def main() -> None:
        ear = Listener()
        late_ms: list[float] = []
        done = threading.Event()

        def talk(socket: ServerConnection) -> None:
            try:
                late_ms.extend(speak(socket, ear))
            finally:
                done.set()

        def wait() -> list[float]:
            done.wait()
            return late_ms

        with serve(talk, "127.0.0.1", 0, ssl=wire.server_tls, compression=None) as server:
            serving_thread = threading.Thread(target=server.serve_forever)
            serving_thread.start()
            try:
                socket = await dial(wire.url(server.socket.getsockname()[1]), ear, ssl_context=wire.client_tls)
                await judge(f"model, {wire}", wait)
                socket.close()
                await ear.end()
            finally:
                server.shutdown()
                serving_thread.join()

    run(main, wire, within_s=60)
