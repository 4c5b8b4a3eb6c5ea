"""Which call has which media socket, and what a missing or late status makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.calls.call_rig import later
from support.virtual import run

from gateway.callers.phone.counts import CarrierCounts
from gateway.callers.twilio.streams import CONFIRM_S, Streams
from gateway.clock import LoopClock


class FakeSocket:
    """A media socket that only notes why it was given up."""

    def __init__(self, streams: Streams, call_id: str, stream_sid: str | None = None) -> None:
        self.stream_sid = stream_sid
        self.gave_up: list[str] = []
        self._streams = streams
        self._call_id = call_id

    def give_up(self, reason: str) -> None:
        self.gave_up.append(reason)
        self._streams.ended(self._call_id, self, reason)


class Rig:
    """The streams of an account whose API notes what it is asked."""

    def __init__(self, clock: LoopClock, *, has_api: bool = True) -> None:
        self.asked: list[str] = []
        self.counts = CarrierCounts("twilio")
        self.streams = Streams(clock, self.counts, self._hang_up if has_api else None)

    async def _hang_up(self, call_id: str) -> None:
        self.asked.append(call_id)

    def socket(self, call_id: str, stream_sid: str | None = None) -> FakeSocket:
        socket = FakeSocket(self.streams, call_id, stream_sid)
        self.streams.began(call_id, socket)
        return socket


def with_rig(main: Callable[[Rig], Awaitable[None]], **changes: bool) -> None:
    async def whole() -> None:
        rig = Rig(LoopClock(asyncio.get_running_loop(), 0.0), **changes)
        await main(rig)
        await rig.streams.close()

    run(whole())


def test_each_call_that_ended_here_without_a_status_is_hung_up_once_in_its_time() -> None:
    async def main(rig: Rig) -> None:
        one, two = rig.socket("CA1"), rig.socket("CA2")
        rig.streams.ended("CA1", one, "agent_hung_up")
        await later(3)
        rig.streams.ended("CA2", two, "model_lost")
        await later(CONFIRM_S - 3.1)
        assert rig.asked == []
        await later(0.2)
        assert rig.asked == ["CA1"]
        await later(60)
        assert rig.asked == ["CA1", "CA2"]

    with_rig(main)


@pytest.mark.parametrize("reason", ["agent_hung_up", "caller_hung_up"])
def test_a_call_that_the_carrier_has_ended_or_confirmed_is_not_hung_up(reason: str) -> None:
    async def main(rig: Rig) -> None:
        socket = rig.socket("CA1")
        assert rig.streams.ended("CA1", socket, reason)
        if reason == "agent_hung_up":
            rig.streams.over("CA1", "MZ1")
        await later(60)
        assert (rig.asked, socket.gave_up) == ([], [])

    with_rig(main)


def test_without_an_api_nothing_is_asked() -> None:
    async def main(rig: Rig) -> None:
        rig.streams.ended("CA1", rig.socket("CA1"), "agent_hung_up")
        await later(60)
        assert rig.asked == []

    with_rig(main, has_api=False)


@pytest.mark.parametrize(
    ("known", "told", "ends"),
    [("MZ1", "MZ1", True), ("MZ1", None, True), (None, "MZ1", True), ("MZ1", "MZ2", False)],
)
def test_a_status_ends_the_call_unless_it_is_of_another_stream(known: str | None, told: str | None, ends: bool) -> None:
    async def main(rig: Rig) -> None:
        socket = rig.socket("CA1", known)
        rig.streams.over("CA1", told)
        assert socket.gave_up == (["caller_hung_up"] if ends else [])
        rig.streams.over("CA9")
        assert rig.counts.of("ended_by_status") == ends

    with_rig(main)


def test_a_second_socket_of_a_call_takes_the_place_of_the_first() -> None:
    async def main(rig: Rig) -> None:
        first = rig.socket("CA1")
        second = rig.socket("CA1")
        assert (first.gave_up, second.gave_up) == (["caller_hung_up"], [])
        assert not rig.streams.ended("CA1", first, "caller_hung_up")
        assert rig.streams.ended("CA1", second, "agent_hung_up")
        rig.socket("CA1")  # the call goes on, so nothing is hung up
        await later(60)
        assert (rig.asked, rig.counts.of("socket_replaced")) == ([], 1)

    with_rig(main)


def test_after_the_close_nothing_is_hung_up() -> None:
    async def main(rig: Rig) -> None:
        rig.streams.ended("CA1", rig.socket("CA1"), "shutting_down")
        await rig.streams.close()
        await later(60)
        assert rig.asked == []

    with_rig(main)
