"""What one read brings is worked off over several turns of the loop, in order, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from peers.socket_harness import Ear, Raw, Wire, frame, route_to, run, serving, upgrade_head

from gateway.sockets import MESSAGES_A_TURN

pytestmark = pytest.mark.sockets

MANY = 400


class Worker(Ear):
    """A receiver to which each message is work. `turns` is how many it got in each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Counter[int] = Counter()
        self._turn = 0

    def text(self, message: bytes) -> None:
        super().text(message)
        if not self.turns[self._turn]:
            asyncio.get_running_loop().call_soon(self._next)
        self.turns[self._turn] += 1
        self.socket.worked()

    def _next(self) -> None:
        self._turn += 1


def messages(begin: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(begin, begin + MANY)]


def frames(begin: int = 0) -> bytes:
    return b"".join(frame(1, message) for message in messages(begin))


def heard(ear: Ear) -> list[bytes]:
    return [message for kind, message in ear.heard if kind == "text"]


def test_no_turn_works_off_more_than_its_share_and_reading_goes_on(wire: Wire) -> None:
    async def main() -> None:
        ear = Worker()
        async with serving([route_to(ear)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            for begin in (0, MANY, 2 * MANY):
                raw.writer.write(frames(begin))
                await ear.until(lambda upto=begin + MANY: len(heard(ear)) == upto)
            assert heard(ear) == messages() + messages(MANY) + messages(2 * MANY)
            assert max(ear.turns.values()) <= MESSAGES_A_TURN

    run(main, wire, within_s=5)


def test_fragments_and_a_close_frame_keep_their_place(wire: Wire) -> None:
    async def main() -> None:
        ear = Worker()
        async with serving([route_to(ear)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            halves = frame(1, b"one ", fin=False) + frame(0, b"whole")
            raw.writer.write(frames() + halves + frame(2, b"binary") + frame(8, b"\x0f\xa0bye"))
            await ear.until(lambda: ear.ends)
            assert heard(ear) == [*messages(), b"one whole"]
            assert ear.heard[-1] == ("binary", b"binary")
            assert ear.ends == [(4000, "bye")]

    run(main, wire, within_s=5)


def test_what_a_peer_sent_before_it_left_is_heard(wire: Wire) -> None:
    async def main() -> None:
        ear = Worker()
        async with serving([route_to(ear)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            raw.writer.write(frames())
            await raw.writer.drain()
            raw.writer.close()
            await ear.until(lambda: ear.ends)
            assert heard(ear) == messages()
            assert [code for code, _ in ear.ends] == [1006]

    run(main, wire, within_s=5)


def test_after_our_own_close_nothing_more_is_heard(wire: Wire) -> None:
    async def main() -> None:
        ear = Worker()
        async with serving([route_to(ear)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head())
            raw.writer.write(frames() + frame(8, b"\x0f\xa0bye"))
            await ear.until(lambda: ear.heard)
            ear.socket.close(1000, "enough")
            count = len(ear.heard)
            await ear.until(lambda: ear.ends)
            assert len(ear.heard) == count
            assert ear.ends == [(1000, "enough")]

    run(main, wire, within_s=5)
