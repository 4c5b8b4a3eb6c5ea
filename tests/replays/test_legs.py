"""The pair of sockets in memory keeps the promises of the real one."""

from __future__ import annotations

import asyncio

from support.calls.legs import MemoryLeg

from gateway.net.media_routes import Accepted
from gateway.net.sockets import Socket, SocketLimits


class Ear:
    """A receiver that keeps what it hears."""

    def __init__(self) -> None:
        self.socket: Socket | None = None
        self.heard: list[bytes] = []
        self.ends: list[tuple[int, str]] = []
        self.fail = False

    def opened(self, socket: Socket) -> None:
        self.socket = socket

    def text(self, message: bytes) -> None:
        self.heard.append(message)
        if self.fail:
            raise RuntimeError("the receiver failed")

    def binary(self, message: bytes) -> None:
        self.heard.append(message)

    def lost(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


class Pair:
    """An open leg, its receiver, and what came back."""

    def __init__(self, limits: SocketLimits | None = None) -> None:
        self.ear = Ear()
        self.came: list[bytes] = []
        self.ends: list[tuple[int, str]] = []
        self.faults: list[BaseException] = []
        self.leg = MemoryLeg(
            Accepted(self.ear, self.faults.append),
            self.came.append,
            lambda code, reason: self.ends.append((code, reason)),
            limits or SocketLimits(),
        )
        self.leg.open()

    @property
    def near(self) -> Socket:
        assert self.ear.socket is not None
        return self.ear.socket


async def settle() -> None:
    """Let what is due in the loop happen."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, done.set_result, None)
    await done


def test_messages_go_both_ways_in_order() -> None:
    async def main() -> None:
        pair = Pair()
        pair.leg.send(b"one")
        pair.leg.send_binary(b"two")
        pair.near.send_text(b"three")
        assert pair.ear.heard == [b"one", b"two"]
        assert pair.came == [b"three"]
        assert pair.near.peer == "127.0.0.1"

    asyncio.run(main())


def test_a_reordered_message_arrives_behind_the_next() -> None:
    async def main() -> None:
        pair = Pair()
        pair.leg.reorder()
        for message in (b"one", b"two", b"three"):
            pair.leg.send(message)
        assert pair.ear.heard == [b"two", b"one", b"three"]

    asyncio.run(main())


def test_a_dropped_line_is_lost_once_and_takes_nothing_more() -> None:
    async def main() -> None:
        pair = Pair()
        pair.leg.drop()
        pair.leg.drop()
        pair.leg.send(b"too late")
        pair.near.send_text(b"too late")
        assert pair.ear.ends == [(1006, "")]
        assert (pair.ear.heard, pair.came) == ([], [])
        assert pair.near.closed

    asyncio.run(main())


def test_a_close_reaches_the_far_end_behind_what_was_sent_and_our_receiver_last() -> None:
    async def main() -> None:
        pair = Pair()
        pair.near.send_text(b"goodbye")
        pair.near.close(1008, "enough")
        assert (pair.came, pair.ends, pair.ear.ends) == ([b"goodbye"], [(1008, "enough")], [])
        await settle()
        assert pair.ear.ends == [(1008, "enough")]

    asyncio.run(main())


def test_a_stalled_far_end_fills_the_line_until_it_is_closed() -> None:
    async def main() -> None:
        pair = Pair(SocketLimits(max_unsent_bytes=10, goodbye_s=0.001))
        pair.leg.stall()
        pair.near.send_text(b"12345678")
        assert (pair.near.unsent_bytes, pair.came) == (8, [])
        pair.leg.resume()
        assert (pair.near.unsent_bytes, pair.came) == (0, [b"12345678"])
        pair.leg.stall()
        pair.near.send_text(b"12345678901")
        assert pair.near.closed
        await settle()
        assert pair.ear.ends == [(1013, "too much is unsent")]

    asyncio.run(main())


def test_what_is_too_big_closes_the_line() -> None:
    async def main() -> None:
        pair = Pair(SocketLimits(max_message_bytes=3))
        pair.leg.send(b"1234")
        await settle()
        assert [code for code, _ in pair.ear.ends] == [1009]
        assert pair.ear.heard == []

    asyncio.run(main())


def test_a_receiver_that_fails_is_reported_and_its_line_closed() -> None:
    async def main() -> None:
        pair = Pair()
        pair.ear.fail = True
        pair.leg.send(b"one")
        assert [str(fault) for fault in pair.faults] == ["the receiver failed"]
        assert pair.ends == [(1011, "")]

    asyncio.run(main())
