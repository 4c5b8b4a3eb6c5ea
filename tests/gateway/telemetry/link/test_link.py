"""The serving process's side, with couriers that live in the test; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from support.virtual import run

from gateway.telemetry.link.child import SILENT_MAX_S
from gateway.telemetry.link.link import LinkParts, TelemetryLink
from gateway.telemetry.link.wire import Report
from sessions.stores.contract import Document


class FakeCourier:
    """A courier: notes its lines, reports what the test says, and dies when told to."""

    def __init__(self, *, reads: bool = True) -> None:
        self.lines: list[dict[str, Any]] = []
        self.killed = False
        self._reads = reads
        self._reports: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = asyncio.Event()
        self.stdin, self.stdout = self, self

    def write(self, payload: bytes) -> None:
        """Take lines."""
        self.lines += [orjson.loads(line) for line in payload.splitlines()]

    async def drain(self) -> None:
        """Take more at once, or never."""
        if not self._reads:
            await asyncio.Event().wait()

    def close(self) -> None:
        """Its input ends, and so does it."""
        self._reports.put_nowait(b"")

    async def readline(self) -> bytes:
        """The next report."""
        return await self._reports.get()

    def report(self, **fields: Any) -> None:
        """Report to the server."""
        self._reports.put_nowait(orjson.dumps(fields) + b"\n")

    def die(self) -> None:
        """End."""
        self._reports.put_nowait(b"")
        self._ended.set()

    def kill(self) -> None:
        """Be killed."""
        self.killed = True
        self.die()

    async def wait(self) -> None:
        """Wait for its end."""
        await self._ended.wait()

    def got(self, kind: str) -> list[Any]:
        """What it was sent of one kind."""
        return [line["d"] for line in self.lines if line["k"] == kind]

    def numbers(self) -> list[int]:
        """The numbers of its lines."""
        return [line["n"] for line in self.lines if line["n"]]


class World:
    """A link with its couriers."""

    def __init__(self, **options: Any) -> None:
        self.couriers: list[FakeCourier] = []
        self.refuse = 0  # how many starts fail
        self.reads = True
        self.counts = Report()
        self.levels = {"open": "text"}
        self.link = TelemetryLink(
            LinkParts(
                hello={"destinations": []},
                start=self._start,
                content_of=lambda agent: self.levels.get(agent, "none"),
                without_words=lambda document: {**document, "words": False},
                counts=self.counts,
                **options,
            )
        )

    async def _start(self) -> FakeCourier:
        if self.refuse:
            self.refuse -= 1
            raise OSError("no memory")
        self.couriers.append(FakeCourier(reads=self.reads))
        return self.couriers[-1]


def session(name: str, agent: str = "closed") -> Document:
    return {"tenant": "t", "session_id": name, "id": "session", "type": "session", "agent": agent}


def turn(name: str, index: int) -> Document:
    return {"tenant": "t", "session_id": name, "id": f"turn_{index}", "type": "turn", "said": "hello"}


def tried(main: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> World:
    async def whole() -> World:
        world = World(**options)
        running = asyncio.ensure_future(world.link.run())
        await asyncio.sleep(0.1)
        await main(world)
        running.cancel()
        await asyncio.wait([running])
        return world

    return run(whole())


def test_documents_go_to_the_courier_without_words_where_content_is_off() -> None:
    async def main(world: World) -> None:
        world.link.document(session("s1"))
        world.link.document(turn("s1", 0))
        world.link.document(session("s2", "open"))
        world.link.document(turn("s2", 0))
        world.link.document(turn("unknown", 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    (courier,) = tried(main).couriers
    assert courier.lines[0]["k"] == "hello"
    assert [(one["session_id"], one.get("words", True)) for one in courier.got("doc")] == [
        ("s1", False),
        ("s1", False),
        ("s2", True),
        ("s2", True),
        ("unknown", False),
    ]


def test_what_is_not_acknowledged_goes_to_the_next_courier() -> None:
    async def main(world: World) -> None:
        world.link.document(session("s"))
        for index in range(3):
            world.link.document(turn("s", index))
        await asyncio.sleep(0.1)
        first = world.couriers[0]
        first.report(done=first.numbers()[1:2], items=[["traces", "otlp", "sent", 4]], up={"otlp": True})
        await asyncio.sleep(0.1)
        first.die()
        await asyncio.sleep(0.5)
        world.link.document(turn("s", 3))  # while there is none
        await asyncio.sleep(2)

    world = tried(main)
    first, second = world.couriers
    assert [one["id"] for one in second.got("doc")] == ["session", "turn_1", "turn_2", "turn_3"]
    assert first.lines[0] == second.lines[0]
    assert world.counts.items == {("traces", "otlp", "sent"): 4}
    assert world.counts.up == {"otlp": True}


def test_a_courier_that_cannot_be_started_or_dies_is_started_again_with_pauses_that_grow() -> None:
    async def main(world: World) -> None:
        world.refuse = 3
        started = asyncio.get_running_loop().time()
        world.couriers[0].die()
        while len(world.couriers) < 2:
            await asyncio.sleep(0.1)
        assert 14.5 < asyncio.get_running_loop().time() - started < 15.5  # 1 + 2 + 4 + 8
        await asyncio.sleep(61)
        world.couriers[1].report()
        await asyncio.sleep(10)
        world.couriers[1].die()
        await asyncio.sleep(1.5)
        assert len(world.couriers) == 3

    tried(main)


def test_a_courier_that_hangs_is_ended() -> None:
    async def main(world: World) -> None:
        for _ in range(5):
            await asyncio.sleep(SILENT_MAX_S - 1)
            world.couriers[0].report()
        assert not world.couriers[0].killed
        await asyncio.sleep(SILENT_MAX_S + 3)
        assert world.couriers[0].killed
        assert len(world.couriers) == 2

    tried(main)


async def hung(world: World, couriers: int) -> None:
    """Wait until so many couriers have hung, and the next one runs."""
    while len(world.couriers) <= couriers:
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.1)


def test_an_item_with_which_two_couriers_hang_is_dropped_and_the_rest_goes_on() -> None:
    async def main(world: World) -> None:
        world.couriers[0].report(up={"otlp": True, "langfuse": True})
        for index in range(3):
            world.link.document(turn("s", index))
        await hung(world, 1)
        assert world.counts.up == {"otlp": False, "langfuse": False}
        assert not world.counts.dropped
        await hung(world, 2)
        assert world.counts.dropped == {("traces", "hangs"): 1}
        world.couriers[2].report(done=world.couriers[2].numbers(), up={"otlp": True})
        await asyncio.sleep(0.1)
        assert world.link.waiting_bytes == 0

    world = tried(main, destinations=["otlp", "langfuse"])
    ids = [[one["id"] for one in courier.got("doc")] for courier in world.couriers]
    assert ids == [["turn_0", "turn_1", "turn_2"]] * 2 + [["turn_1", "turn_2"]]
    assert world.counts.up == {"otlp": True, "langfuse": False}


def test_couriers_that_are_killed_cost_nothing_however_soon() -> None:
    async def main(world: World) -> None:
        world.link.document(turn("s", 0))
        for courier in range(4):
            await asyncio.sleep(0.1)
            world.couriers[courier].die()
            await hung(world, courier + 1)
        assert [one["id"] for one in world.couriers[4].got("doc")] == ["turn_0"]
        world.couriers[4].report(done=world.couriers[4].numbers())
        await asyncio.sleep(0.1)

    world = tried(main, destinations=["otlp"])
    assert not world.counts.dropped
    assert not world.counts.up


def test_a_courier_that_does_not_read_costs_what_does_not_fit_into_the_buffer() -> None:
    async def main(world: World) -> None:
        world.couriers[0].report()
        world.link.document(session("s"))
        size = world.link.waiting_bytes
        for index in range(100):
            world.link.document(turn("s", index))
        assert size < world.link.waiting_bytes <= 4000

    world = tried(main, max_bytes=4000)
    assert 50 < world.counts.dropped[("traces", "buffer_full")] < 100


def test_what_need_not_be_sent_at_once_waits_for_room() -> None:
    async def main(world: World) -> None:
        for index in range(15):
            world.link.document(turn("s", index))
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(world.link.room())
        await asyncio.sleep(5)
        assert not waiting.done()
        world.couriers[0].report(done=world.couriers[0].numbers())
        await asyncio.sleep(0.1)
        assert waiting.done()

    tried(main, max_bytes=3000)


def test_at_the_end_the_courier_gets_everything_and_then_the_word() -> None:
    async def main(world: World) -> None:
        world.link.document(session("s"))
        world.link.log_line({"message": "hello"})
        closing = asyncio.ensure_future(world.link.close())
        await asyncio.sleep(0.1)
        courier = world.couriers[0]
        assert [line["k"] for line in courier.lines] == ["hello", "doc", "log", "end"]
        courier.die()
        await closing

    world = tried(main)
    assert world.counts.dropped == {("traces", "shutdown"): 1, ("logs", "shutdown"): 1}


def test_a_courier_that_does_not_end_is_killed() -> None:
    async def main(world: World) -> None:
        courier = world.couriers[0]
        courier.close = lambda: None  # type: ignore[method-assign]
        await world.link.close()
        assert courier.killed

    tried(main)


def test_the_newest_figures_are_sent_now_and_then() -> None:
    async def figures() -> bytes:
        return b"patchbay_live_calls 3\n"

    async def main(world: World) -> None:
        await asyncio.sleep(25)

    (courier,) = tried(main, figures_text=figures, figures_every_s=10.0).couriers
    assert courier.got("figures") == ["patchbay_live_calls 3\n"] * 2


def test_a_document_that_is_none_costs_a_count() -> None:
    async def main(world: World) -> None:
        world.link.document({"id": "x"})
        world.link.document(session("s"))
        await asyncio.sleep(0.1)

    world = tried(main)
    assert world.counts.dropped == {("traces", "fault"): 1}
    assert len(world.couriers[0].got("doc")) == 1


def test_a_report_that_is_none_costs_a_log_line() -> None:
    async def main(world: World) -> None:
        world.couriers[0].report(done=7, items="x")
        world.couriers[0].report(items=[["traces", "otlp", "sent", 1]])
        await asyncio.sleep(0.1)

    assert tried(main).counts.items == {("traces", "otlp", "sent"): 1}


def test_nothing_more_is_sent_of_a_session_that_is_deleted() -> None:
    async def main(world: World) -> None:
        world.link.document(turn("s", 0))
        world.link.document(turn("other", 0))
        world.link.forget("t", "s")
        world.link.document(turn("s", 1))
        await asyncio.sleep(0.1)

    assert [one["session_id"] for one in tried(main).couriers[0].got("doc")] == ["other"]


def score(name: str) -> Document:
    return {"tenant": "t", "session_id": name, "id": "score_a", "type": "score", "comment": "fine"}


def test_a_score_is_handed_over_with_its_calls_beginning_and_what_its_agent_allows() -> None:
    async def main(world: World) -> None:
        await asyncio.sleep(0.1)
        world.link.score({**session("a", "open"), "started_at": 5.5}, score("a"))
        world.link.score(session("b"), score("b"))
        world.link.score({"type": "session"}, score("c"))
        await asyncio.sleep(0.1)
        first, second = [line for line in world.couriers[0].lines if line["k"] == "score"]
        assert (first["d"].get("words"), first["started_at"]) == (None, 5.5)
        assert (second["d"]["words"], second["started_at"]) == (False, None)

    assert tried(main).counts.dropped == {("scores", "fault"): 1}


def test_a_second_score_of_a_name_replaces_the_first_and_a_deletion_drops_both() -> None:
    async def main(world: World) -> None:
        world.reads = False
        for _ in range(2):
            world.link.score(session("a"), score("a"))
        one = world.link.waiting_bytes
        world.link.sound("t", "a", {"turns": []})
        assert world.link.waiting_bytes > one
        world.link.forget("t", "a")
        assert world.link.waiting_bytes == 0

    tried(main)


def test_what_is_left_at_the_end_is_counted_by_its_signal() -> None:
    async def main(world: World) -> None:
        world.link.document(session("a"))
        world.link.score(session("a"), score("a"))
        world.link.sound("t", "a", {"turns": []})
        world.link.log_line({"message": "x"})
        world.link.score(session("b"), score("b"))
        world.link.forget("t", "b")
        world.link.score(session("b"), score("b"))
        world.link.sound("t", "b", {"turns": []})
        await world.link.close()

    left = {(signal, "shutdown"): 1 for signal in ("traces", "scores", "audio", "logs")}
    assert tried(main).counts.dropped == left
