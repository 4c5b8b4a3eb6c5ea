"""The messages of one read are handled over several turns of the loop, in order and completely."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, upgrade_head

from gateway.net.message_budget import MESSAGES_A_TURN

pytestmark = pytest.mark.sockets

MANY = 400


class Worker(CapturingReceiver):
    """A receiver for which each message takes time. `turns` holds how many it received in each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Counter[int] = Counter()
        self._turn = 0

    def text(self, message: bytes) -> None:
        super().text(message)
        if not self.turns[self._turn]:
            asyncio.get_running_loop().call_soon(self._next)
        self.turns[self._turn] += 1
        self.socket.count_message()

    def _next(self) -> None:
        self._turn += 1


def messages(begin: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(begin, begin + MANY)]


def frames(begin: int = 0) -> bytes:
    return b"".join(frame(1, message) for message in messages(begin))


def received(receiver: CapturingReceiver) -> list[bytes]:
    return [message for kind, message in receiver.received if kind == "text"]


def test_no_turn_handles_more_than_its_share_and_reading_continues(wire: Wire) -> None:
    async def main() -> None:
        receiver = Worker()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            for begin in (0, MANY, 2 * MANY):
                raw.writer.write(frames(begin))
                await receiver.until(lambda upto=begin + MANY: len(received(receiver)) == upto)
            assert received(receiver) == messages() + messages(MANY) + messages(2 * MANY)
            assert max(receiver.turns.values()) <= MESSAGES_A_TURN

    run(main, wire, within_s=5)


def test_fragments_and_a_close_frame_keep_their_place(wire: Wire) -> None:
    async def main() -> None:
        receiver = Worker()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            halves = frame(1, b"one ", fin=False) + frame(0, b"whole")
            raw.writer.write(frames() + halves + frame(2, b"binary") + frame(8, b"\x0f\xa0bye"))
            await receiver.until(lambda: receiver.ends)
            assert received(receiver) == [*messages(), b"one whole"]
            assert receiver.received[-1] == ("binary", b"binary")
            assert receiver.ends == [(4000, "bye")]

    run(main, wire, within_s=5)


def test_frames_that_a_peer_sent_before_it_left_are_read(wire: Wire) -> None:
    async def main() -> None:
        receiver = Worker()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            raw.writer.write(frames())
            await raw.writer.drain()
            raw.writer.close()
            await receiver.until(lambda: receiver.ends)
            assert received(receiver) == messages()
            assert [code for code, _ in receiver.ends] == [1006]

    run(main, wire, within_s=5)


def test_nothing_is_read_after_our_own_close(wire: Wire) -> None:
    async def main() -> None:
        receiver = Worker()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            raw.writer.write(frames() + frame(8, b"\x0f\xa0bye"))
            await receiver.until(lambda: receiver.received)
            receiver.socket.close(1000, "enough")
            count = len(receiver.received)
            await receiver.until(lambda: receiver.ends)
            assert len(receiver.received) == count
            assert receiver.ends == [(1000, "enough")]

    run(main, wire, within_s=5)
