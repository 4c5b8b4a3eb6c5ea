"""The whole courier in virtual time: lines of a server in, reports out, with a receiver in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from support.telemetry.telemetry_records import SESSION, call_document, document_of, turn_of
from support.virtual import run

from gateway.telemetry.courier.calls import Calls
from gateway.telemetry.courier.destinations import Outlets
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.outlet import Outlet
from gateway.telemetry.courier.parts import Parts, dialects
from gateway.telemetry.courier.program import Courier, CourierParts, Reports
from gateway.telemetry.courier.receipts import Receipts
from gateway.telemetry.link.ledger import Ledger
from gateway.telemetry.link.wire import line
from gateway.telemetry.spans.policy import TelemetryPolicy

LIVE, OVER, TURN = call_document(over=False), call_document(), document_of(turn_of())
TAKEN = Outcome(Result.TAKEN)
WHOLE = 6  # spans: set-up, dial, and the turn with what is in it


class Pipe:
    """The courier's input, and what it reports."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.reports: list[dict[str, Any]] = []
        self.number = 0

    async def readline(self) -> bytes:
        """The next line."""
        return await self._lines.get()

    def send(self, kind: str, value: object, **more: object) -> int:
        """Hand over a line; returns its number."""
        self.number += 1
        self._lines.put_nowait(line(kind, self.number, value, **more))
        return self.number

    def document(self, document: Any) -> int:
        """Hand over a document."""
        return self.send("doc", document, content="none")

    def raw(self, payload: bytes) -> None:
        """Hand over bytes."""
        self._lines.put_nowait(payload)

    def report(self, payload: bytes) -> None:
        """Take a report."""
        self.reports.append(orjson.loads(payload))

    def done(self) -> list[int]:
        """All numbers that were acknowledged."""
        return sorted(number for report in self.reports for number in report["done"])

    def counted(self, name: str) -> dict[tuple[str, ...], int]:
        """All counts of one kind."""
        found: dict[tuple[str, ...], int] = {}
        for report in self.reports:
            for *key, count in report.get(name, []):
                found[tuple(key)] = found.get(tuple(key), 0) + count
        return found


class World:
    """A courier with two destinations."""

    def __init__(self, ledger: Path | None = None, **answers: Outcome) -> None:
        self.pipe = Pipe()
        self.got: dict[str, list[Any]] = {"otlp": [], "langfuse": [], "logs": [], "metrics": [], "scores": []}
        self.answers = answers
        reports, policy = Reports(self.pipe.report), TelemetryPolicy()
        outlets = Outlets(
            [
                Outlet("traces", "otlp", self._deliver("otlp"), reports),
                Outlet("traces", "langfuse", self._deliver("langfuse"), reports),
                Outlet("logs", "otlp", self._deliver("logs"), reports),
                Outlet("metrics", "otlp", self._deliver("metrics"), reports),
                Outlet("scores", "langfuse", self._deliver("scores"), reports),
            ]
        )
        book, receipts = Ledger(ledger), Receipts(reports.done)
        parts = Parts(outlets.of("traces"), dialects(policy), book, receipts)
        self.courier = Courier(CourierParts(outlets, Calls(policy), parts, receipts, book, reports, policy))

    def _deliver(self, name: str) -> Any:
        async def deliver(items: Sequence[Any]) -> Outcome:
            answer = self.answers.get(name, TAKEN)
            if answer.result is Result.TAKEN:
                self.got[name] += items
            return answer

        return deliver

    def names(self, name: str) -> list[str]:
        """The first words of the names of the spans that a destination has."""
        return [span.name.partition(" ")[0] for span in self.got[name]]

    async def run(self, *waits: float) -> None:
        """Run until the input ends; the input ends after these pauses, at each of which it is given a turn."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self.courier.run(self.pipe))
            for seconds in waits:
                await asyncio.sleep(seconds)
            self.pipe.raw(b"")
            await working


def test_a_turn_goes_to_every_destination_and_is_acknowledged_after_that() -> None:
    world = World()
    world.pipe.document(LIVE)
    turn = world.pipe.document(TURN)
    run(world.run(5.0))
    assert len(world.got["otlp"]) == len(world.got["langfuse"]) == WHOLE
    assert world.pipe.done() == [turn]
    assert world.pipe.counted("items")["traces", "otlp", "sent"] == WHOLE
    assert world.got["otlp"][0].attributes != world.got["langfuse"][0].attributes


def test_a_destination_that_fails_delays_the_acknowledgement_and_no_other_destination() -> None:
    world = World(langfuse=Outcome(Result.LATER, reason="HTTP 503"))
    world.pipe.document(LIVE)
    world.pipe.document(TURN)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(world.run(30.0))
            await asyncio.sleep(20)
            assert len(world.got["otlp"]) == WHOLE
            assert world.pipe.done() == []
            del world.answers["langfuse"]
            await working

    run(main())
    assert len(world.got["langfuse"]) == WHOLE
    assert world.pipe.done() == [2]


def test_a_later_version_is_not_acknowledged_while_the_turn_is_on_its_way() -> None:
    world = World(langfuse=Outcome(Result.LATER, reason="HTTP 503"))
    world.pipe.document(LIVE)
    world.pipe.document(TURN)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(world.run(90.0))
            await asyncio.sleep(5)
            later = world.pipe.document(document_of(turn_of(latency_ms=7)))
            await asyncio.sleep(20)
            assert world.pipe.done() == []
            del world.answers["langfuse"]
            await asyncio.sleep(60)
            assert world.pipe.done() == [later]
            await working

    run(main())
    assert len(world.got["otlp"]) == len(world.got["langfuse"]) == WHOLE


def test_the_next_courier_sends_only_what_a_destination_does_not_have(tmp_path: Path) -> None:
    first = World(tmp_path / "l", langfuse=Outcome(Result.LATER, reason="HTTP 503"))
    second = World(tmp_path / "l")
    for world in (first, second):
        world.pipe.document(LIVE)
        world.pipe.document(TURN)
    run(first.run(5.0))  # it ends without the word, as with a dead server
    assert len(first.got["otlp"]) == WHOLE
    second = World(tmp_path / "l")
    second.pipe.document(LIVE)
    turn = second.pipe.document(TURN)
    run(second.run(5.0))
    assert (second.got["otlp"], len(second.got["langfuse"])) == ([], WHOLE)
    assert turn in second.pipe.done()


def test_what_a_dead_servers_courier_has_sent_is_not_sent_again() -> None:
    world = World()
    world.pipe.send("sent", [[SESSION, "turn/0", "otlp"], ["other"]])
    world.pipe.document(OVER)
    world.pipe.document(TURN)
    world.pipe.document({**TURN, "session_id": "other"})
    run(world.run(12.0))
    assert world.names("otlp") == ["patchbay.setup", "patchbay.dial", "patchbay.call"]
    assert "invoke_agent" in world.names("langfuse")
    assert world.pipe.done() == [1, 2, 3, 4]


def test_an_orderly_end_removes_the_ledger_and_a_dead_server_leaves_it(tmp_path: Path) -> None:
    for word, left in ((True, False), (False, True)):
        path = tmp_path / str(word)
        world = World(path)
        world.pipe.document(LIVE)
        world.pipe.document(TURN)
        if word:
            world.pipe.send("end", None)
        run(world.run(0.0))
        assert len(world.got["otlp"]) == WHOLE  # at once, because nothing more comes
        assert path.exists() is left


def test_at_the_end_a_dead_destination_is_tried_for_some_seconds() -> None:
    world = World(otlp=Outcome(Result.LATER, reason="ConnectError"))
    world.pipe.document(LIVE)
    world.pipe.document(TURN)

    async def main() -> float:
        begun = asyncio.get_running_loop().time()
        await world.run(0.0)
        return asyncio.get_running_loop().time() - begun

    assert 4.9 < run(main()) < 5.5
    assert world.pipe.counted("dropped") == {("traces", "shutdown"): WHOLE}
    assert len(world.got["langfuse"]) == WHOLE
    assert world.pipe.reports[-1]["up"] == {"otlp": False}


def test_log_lines_and_figures_are_passed_on() -> None:
    world = World()
    first = world.pipe.send("log", {"message": "a"})
    world.pipe.send("figures", "old 1\n")
    world.pipe.send("figures", "new 2\n")
    run(world.run(3.0))
    assert world.got["logs"] == [{"message": "a"}]
    assert world.got["metrics"] == ["new 2\n"]
    assert world.pipe.done() == [first, first + 1, first + 2]


def test_odd_lines_cost_themselves_only() -> None:
    world = World()
    world.pipe.raw(b'{"k":"doc","n":1,"d":{"te\n')
    world.pipe.raw(b"[1]\n")
    odd = world.pipe.document({"id": "x"})
    unknown = world.pipe.send("later", {})
    world.pipe.document(LIVE)
    turn = world.pipe.document(TURN)
    run(world.run(5.0))
    assert world.pipe.done() == [odd, unknown, turn]
    assert world.pipe.counted("dropped") == {("traces", "fault"): 1}
    assert len(world.got["otlp"]) == WHOLE


def test_it_shows_that_it_lives() -> None:
    world = World()
    run(world.run(20.0))
    assert 8 <= len(world.pipe.reports) <= 12


def test_a_session_is_acknowledged_last() -> None:
    world = World()
    session = world.pipe.document(LIVE)
    turn = world.pipe.document(TURN)
    over = world.pipe.document(OVER)
    assert (session, turn, over) == (1, 2, 3)

    async def main() -> None:
        await world.run(3.0)

    run(main())
    assert world.pipe.done() == [2, 3]


def test_scores_go_to_the_destination_that_takes_them_and_are_acknowledged() -> None:
    world = World()
    score = {"tenant": "default", "session_id": SESSION, "id": "score_a", "type": "score", "name": "a", "value": True}
    number = world.pipe.send("score", {**score, "scored_at": 9.0}, started_at=5.5)
    undated = world.pipe.send("score", {**score, "name": "b", "scored_at": 9.0}, started_at=None)
    odd = world.pipe.send("score", {"id": "x"}, started_at=1.0)
    run(world.run(3.0))
    times = [datetime.fromisoformat(one["timestamp"]).timestamp() for one in world.got["scores"]]
    assert times == [5.5, 9.0]
    assert [(one["name"], one["value"], one["sessionId"]) for one in world.got["scores"]] == [
        ("a", 1, SESSION),
        ("b", 1, SESSION),
    ]
    assert world.pipe.done() == [number, undated, odd]
    assert world.pipe.counted("items")["scores", "langfuse", "sent"] == 2
    assert world.pipe.counted("dropped") == {("scores", "fault"): 1}


def test_a_score_is_not_acknowledged_while_langfuse_is_away() -> None:
    world = World(scores=Outcome(Result.LATER, reason="HTTP 503"))
    score = {"tenant": "default", "session_id": SESSION, "id": "score_a", "name": "a", "value": 1.0, "scored_at": 9.0}
    number = world.pipe.send("score", score, started_at=5.5)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(world.run(30.0))
            await asyncio.sleep(20)
            assert world.pipe.done() == []
            del world.answers["scores"]
            await working

    run(main())
    assert world.pipe.done() == [number]


def test_sound_that_no_destination_takes_is_done() -> None:
    world = World()
    order = {"tenant": "default", "session": SESSION, "recording": "recording.flac", "turns": [[0, 1, 2, 3, 4]]}
    number = world.pipe.send("audio", order)
    run(world.run(3.0))
    assert world.pipe.done() == [number]
