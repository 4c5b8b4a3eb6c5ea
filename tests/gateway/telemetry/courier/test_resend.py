"""Stored calls sent to destinations, in virtual time and with receivers in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.stores.store_contract import HandClock
from support.telemetry.telemetry_records import call_document, document_of, turn_of
from support.virtual import run

from gateway.telemetry.courier.destinations import Outlets
from gateway.telemetry.courier.outcome import RETRY_MAX_S, Outcome, Result
from gateway.telemetry.courier.outlet import Outlet
from gateway.telemetry.courier.resend import Patience, Resending, Sent, ended_since
from gateway.telemetry.link.wire import Report
from gateway.telemetry.spans.policy import TelemetryPolicy
from sessions.agent import TelemetryContent
from sessions.stores.contract import Missing, SessionKey
from sessions.stores.sqlite import SqliteStore

TEXT = TelemetryPolicy(content=TelemetryContent.TEXT)


class World:
    """A store with calls, and one destination that answers as told."""

    def __init__(self, answer: Outcome, policy: TelemetryPolicy = TEXT) -> None:
        self.answer = answer
        self.got: list[Any] = []
        self.tries = 0
        report, sent = Report(), Sent("otlp")
        deliver = Patience(sent, 60.0, lambda: asyncio.get_running_loop().time()).around(self._deliver)
        outlets = Outlets([Outlet("traces", "otlp", deliver, report, gather_s=0.0)])
        self.levels: dict[str, TelemetryContent | None] = {"harbour": None}
        self.resending = Resending(
            policy, outlets, report, [sent], lambda agent: self.levels.get(agent, TelemetryContent.NONE)
        )
        self.store = SqliteStore(":memory:", HandClock(), inline=True)

    async def _deliver(self, items: Sequence[Any]) -> Outcome:
        self.tries += 1
        if self.answer.result is Result.TAKEN:
            self.got += items
        return self.answer

    async def send(self, *sessions: str) -> Sent:
        """Store a call over, one that goes on, and send these."""
        await self.store.open()
        for document in (call_document(), document_of(turn_of())):
            await self.store.put({**document, "session_id": "over"}, None)
        await self.store.put({**call_document(over=False), "session_id": "live"}, None)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(outlet.run()) for outlet in self.resending.outlets.all]
            for session in sessions:
                await self.resending.send(self.store, SessionKey("default", session))
            await self.resending.flush()
            for task in running:
                task.cancel()
        await self.store.close()
        return self.resending.sent[0]


def test_a_call_is_sent_with_all_its_parts_and_a_live_one_is_left_to_its_server() -> None:
    world = World(Outcome(Result.TAKEN))
    sent = run(world.send("over", "live"))
    assert (sent.spans, sent.refused, world.resending.calls) == (len(world.got), 0, 1)
    kinds = {span.name.partition(" ")[0] for span in world.got}
    assert {"patchbay.setup", "patchbay.dial", "invoke_agent", "patchbay.call"} <= kinds
    assert world.resending.skipped == ["live"]
    assert any("noon" in str(span.attributes) for span in world.got)


def test_words_are_sent_only_where_the_agent_allows_it() -> None:
    for levels in ({"harbour": TelemetryContent.NONE}, {}):
        world = World(Outcome(Result.TAKEN))
        world.levels = dict(levels)
        run(world.send("over"))
        assert world.got
        assert not any("noon" in str(span.attributes) for span in world.got)


def test_a_wrong_key_ends_the_tries_at_once() -> None:
    world = World(Outcome(Result.DENIED, reason="HTTP 401"))
    sent = run(world.send("over"))
    assert (sent.spans, sent.reason, world.tries) == (0, "HTTP 401", 1)
    assert sent.refused > 3


def test_a_destination_that_does_not_answer_is_tried_for_a_minute() -> None:
    world = World(Outcome(Result.LATER, reason="ConnectError"))

    async def main() -> tuple[Sent, float]:
        begun = asyncio.get_running_loop().time()
        return await world.send("over"), asyncio.get_running_loop().time() - begun

    sent, took = run(main())
    assert (sent.spans, sent.reason) == (0, "ConnectError")
    assert 60 <= took < 60 + 1.2 * RETRY_MAX_S  # the last pause may have begun just before the minute was over
    assert world.tries > 4


def test_a_partial_success_is_told() -> None:
    sent = run(World(Outcome(Result.TAKEN, rejected=2)).send("over"))
    assert (sent.refused, sent.reason) == (2, "rejected by the receiver")


def test_a_session_that_is_not_there_is_missing() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        run(World(Outcome(Result.TAKEN)).send("nowhere"))
    assert caught.group_contains(Missing)


def test_sessions_are_found_by_their_begin_page_by_page() -> None:
    async def main() -> list[str]:
        store = SqliteStore(":memory:", HandClock(), inline=True)
        await store.open()
        for number in range(250):
            await store.put({**call_document(), "session_id": f"s{number:03}", "started_at": 1000.0 + number}, None)
        await store.put({**call_document(over=False), "session_id": "live", "started_at": 1300.0}, None)
        found = [key.session_id async for key in ended_since(store, "default", 1100.0)]
        await store.close()
        return found

    found = run(main())
    assert (found[0], found[-1], len(found)) == ("s249", "s100", 150)
