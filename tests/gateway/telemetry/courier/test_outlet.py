"""One signal on its way to one destination, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from support.virtual import run

from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.outlet import BATCH_ITEMS, Outlet, Parcel
from gateway.telemetry.link.wire import Report

TAKEN, LATER = Outcome(Result.TAKEN), Outcome(Result.LATER, reason="HTTP 503")


class Receiver:
    """Answers as told, the last answer for ever, and notes when it was asked."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, list[Any]]] = []

    async def deliver(self, items: Sequence[Any]) -> Outcome:
        """Take a request."""
        self.asked.append((asyncio.get_running_loop().time() - 1000.0, list(items)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """An outlet that runs, and what became of its parcels."""

    def __init__(self, receiver: Receiver, **options: Any) -> None:
        self.report = Report()
        self.done: list[tuple[str, bool]] = []
        self.outlet = Outlet("traces", "otlp", receiver.deliver, self.report, **options)

    def put(self, name: str, items: int = 1, size: int = 100) -> None:
        """Queue a parcel."""
        self.outlet.put(self.parcel(name, items, size))

    def parcel(self, name: str, items: int = 1, size: int = 100) -> Parcel:
        """A parcel whose items are its name."""
        return Parcel([name] * items, size, lambda has: self.done.append((name, has)))


def tried(main: Callable[[World], Coroutine[Any, Any, None]], receiver: Receiver, **options: Any) -> World:
    async def whole() -> World:
        world = World(receiver, **options)
        running = asyncio.ensure_future(world.outlet.run())
        await main(world)
        running.cancel()
        return world

    return run(whole())


def test_parcels_are_gathered_for_a_second_and_sent_together() -> None:
    async def main(world: World) -> None:
        world.put("a", 2)
        await asyncio.sleep(0.5)
        world.put("b")
        await asyncio.sleep(1)

    receiver = Receiver(TAKEN)
    world = tried(main, receiver)
    assert [(round(at, 3), items) for at, items in receiver.asked] == [(1.0, ["a", "a", "b"])]
    assert world.done == [("a", True), ("b", True)]
    assert world.report.items == {("traces", "otlp", "sent"): 3}
    assert world.report.up == {"otlp": True}


def test_a_full_batch_does_not_wait() -> None:
    async def main(world: World) -> None:
        world.put("a", BATCH_ITEMS)
        await asyncio.sleep(0.01)
        assert len(receiver.asked) == 1

    receiver = Receiver(TAKEN)
    tried(main, receiver)


def test_a_batch_is_tried_again_until_it_is_taken() -> None:
    async def main(world: World) -> None:
        world.put("a")
        await asyncio.sleep(2)
        world.put("b")
        await asyncio.sleep(60)

    receiver = Receiver(LATER, Outcome(Result.LATER, after_s=20.0, reason="HTTP 429"), LATER, TAKEN)
    world = tried(main, receiver)
    assert [items for _, items in receiver.asked] == [["a"], ["a"], ["a"], ["a"], ["b"]]
    assert receiver.asked[2][0] - receiver.asked[1][0] == 20.0
    assert world.done == [("a", True), ("b", True)]


def test_a_wrong_key_is_not_tried_for_five_minutes() -> None:
    async def main(world: World) -> None:
        world.put("a")
        await asyncio.sleep(300)
        assert len(receiver.asked) == 1
        assert world.report.up == {"otlp": False}
        await asyncio.sleep(2)

    receiver = Receiver(Outcome(Result.DENIED, reason="HTTP 401"), TAKEN)
    world = tried(main, receiver)
    assert len(receiver.asked) == 2
    assert world.done == [("a", True)]


def test_what_a_receiver_refuses_is_counted_and_not_sent_again() -> None:
    async def main(world: World) -> None:
        world.put("a", 3)
        await asyncio.sleep(5)
        world.put("b")
        await asyncio.sleep(5)

    receiver = Receiver(Outcome(Result.REFUSED, reason="HTTP 400"), TAKEN)
    world = tried(main, receiver)
    assert world.done == [("a", False), ("b", True)]
    assert world.report.items == {("traces", "otlp", "refused"): 3, ("traces", "otlp", "sent"): 1}


def test_a_partial_success_is_counted() -> None:
    async def main(world: World) -> None:
        world.put("a", 5)
        await asyncio.sleep(5)

    world = tried(main, Receiver(Outcome(Result.TAKEN, rejected=2)))
    assert world.report.items == {("traces", "otlp", "rejected"): 2, ("traces", "otlp", "sent"): 3}
    assert world.done == [("a", True)]


def test_an_exporter_that_breaks_loses_its_batch_and_nothing_else() -> None:
    async def main(world: World) -> None:
        world.put("a")
        await asyncio.sleep(5)
        world.put("b")
        await asyncio.sleep(5)

    world = tried(main, Receiver(ValueError("odd"), TAKEN))
    assert world.done == [("a", False), ("b", True)]


def test_when_the_queue_is_full_the_oldest_parcels_are_given_up() -> None:
    async def main(world: World) -> None:
        world.put("in hand", 1, 100)
        await asyncio.sleep(1.5)
        for name in ("a", "b", "c"):
            world.put(name, 2, 400)

    world = tried(main, Receiver(LATER), max_bytes=1000)
    assert world.done == [("a", False)]
    assert world.report.dropped == {("traces", "queue_full"): 2}


def test_of_figures_only_the_newest_are_sent() -> None:
    async def main(world: World) -> None:
        world.outlet.only_newest(world.parcel("old"))
        world.outlet.only_newest(world.parcel("new"))
        await asyncio.sleep(2)

    receiver = Receiver(TAKEN)
    world = tried(main, receiver)
    assert [items for _, items in receiver.asked] == [["new"]]
    assert world.report.dropped == {("traces", "stale"): 1}


def test_at_the_end_everything_is_tried_without_long_pauses() -> None:
    async def main(world: World) -> None:
        world.put("a")
        await asyncio.sleep(20)
        tries = len(receiver.asked)
        receiver.answers = [LATER, TAKEN]
        world.put("b")
        world.outlet.hurry()
        async with asyncio.timeout(2):
            await world.outlet.empty()
        assert len(receiver.asked) - tries == 3

    receiver = Receiver(LATER)
    world = tried(main, receiver)
    assert world.done == [("a", True), ("b", True)]


def test_at_the_end_a_wrong_key_is_tried_once() -> None:
    async def main(world: World) -> None:
        world.put("a")
        await asyncio.sleep(5)
        world.outlet.hurry()
        async with asyncio.timeout(2):
            await world.outlet.empty()

    receiver = Receiver(Outcome(Result.DENIED, reason="HTTP 403"))
    world = tried(main, receiver)
    assert len(receiver.asked) == 2
    assert world.report.dropped == {("traces", "shutdown"): 1}


def test_what_is_left_at_the_end_is_counted() -> None:
    async def main(world: World) -> None:
        world.put("a", 2)
        await asyncio.sleep(5)
        world.put("b", 3)
        world.outlet.give_up_all("shutdown")

    world = tried(main, Receiver(LATER))
    assert world.done == [("a", False), ("b", False)]
    assert world.report.dropped == {("traces", "shutdown"): 5}
