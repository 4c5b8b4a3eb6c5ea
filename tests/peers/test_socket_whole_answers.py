"""Each answer is complete as soon as its last byte arrives, whatever the size of its pieces and of the pause after it.

The peer is a thread with a blocking socket of another library, so that this process's loop does not drive it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol

import pytest
from peers.socket_harness import CapturingReceiver, Wire, route_to, run, serving
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from gateway.net.dial import dial

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

SIZES = (1_000, 16_000, 16_384, 17_000, 25_000, 64_000, 65_536, 100_000, 300_000)
ANSWERS = 150
LATE_MS = 100.0
GIVE_UP_S = 5.0


class Sends(Protocol):
    """The methods that both sides of that library have."""

    def send(self, message: bytes) -> None:
        """Send one message."""


class Listener(CapturingReceiver):
    """Notes when each answer's last message was received."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_at_s = 0.0
        self.whole = threading.Event()

    def binary(self, message: bytes) -> None:
        if message[-1:] == b"!":
            self.heard_at_s = time.monotonic()
            self.whole.set()


def speak(socket: Sends, receiver: Listener) -> list[float]:
    """Send the answers, each after the last one was received. Returns how late each was, in ms."""
    late_ms = []
    for number in range(ANSWERS):
        size = SIZES[number % len(SIZES)]
        for _ in range(number % 3):
            socket.send(b"-" * size)
        receiver.whole.clear()
        socket.send(b"-" * (size - 1) + b"!")
        sent_at_s = time.monotonic()
        assert receiver.whole.wait(GIVE_UP_S), f"answer {number}, of {size} bytes, did not come"
        late_ms.append((receiver.heard_at_s - sent_at_s) * 1000)
    return late_ms


async def judge(what: str, speaking: Callable[[], list[float]]) -> None:
    late_ms = sorted(await asyncio.to_thread(speaking))
    print(f"{what}: {len(late_ms)} answers, median {late_ms[len(late_ms) // 2]:.1f} ms, last {late_ms[-1]:.1f} ms")
    assert len(late_ms) == ANSWERS
    assert late_ms[-1] < LATE_MS


def test_a_callers_messages_are_never_late(wire: Wire) -> None:
    async def main() -> None:
        receiver = Listener()

        def call(port: int) -> list[float]:
            with connect(wire.url(port), ssl=wire.client_tls, compression=None) as socket:
                return speak(socket, receiver)

        async with serving([route_to(receiver)]) as server:
            await judge(f"caller, {wire}", lambda: call(server.bound_port))

    run(main, wire, within_s=60)


def test_a_models_messages_are_never_late(wire: Wire) -> None:
    async def main() -> None:
        receiver = Listener()
        late_ms: list[float] = []
        done = threading.Event()

        def talk(socket: ServerConnection) -> None:
            try:
                late_ms.extend(speak(socket, receiver))
            finally:
                done.set()

        def wait() -> list[float]:
            done.wait()
            return late_ms

        with serve(talk, "127.0.0.1", 0, ssl=wire.server_tls, compression=None) as server:
            serving_thread = threading.Thread(target=server.serve_forever)
            serving_thread.start()
            try:
                socket = await dial(wire.url(server.socket.getsockname()[1]), receiver, ssl_context=wire.client_tls)
                await judge(f"model, {wire}", wait)
                socket.close()
                await receiver.end()
            finally:
                server.shutdown()
                serving_thread.join()

    run(main, wire, within_s=60)
