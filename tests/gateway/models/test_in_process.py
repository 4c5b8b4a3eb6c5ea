from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.calls.call_rig import turn
from support.local.parrot import Parrot

from audio.formats import PCM16_24K
from gateway.clock import LoopClock
from gateway.ids import CountingIds
from gateway.legs.model import ModelLeg
from gateway.models.in_process import InProcessConnector
from gateway.realtime.server.brain import OpenResponse, TurnEvents
from gateway.realtime.server.server import RealtimeServer
from gateway.runtime.fairness import LONG_MESSAGE_BYTES
from sessions.commands import RequestResponse
from sessions.errors import LegLost
from sessions.events import (
    AgentAudio,
    AgentText,
    ModelEvent,
    ModelLost,
    ModelReady,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
)
from sessions.ports import JsonObject
from sessions.setup import ModelSetup, TurnPolicy
from sessions.values import ModelSession, ResponseRequest

SETUP = ModelSetup(
    {"type": "realtime", "instructions": "x"}, PCM16_24K, PCM16_24K, False, TurnPolicy.MODEL_INTERRUPTS, None
)


class Later(Parrot):
    """Says one word after 50 ms; breaks if it is told to."""

    def __init__(self, ear: TurnEvents, breaks: bool) -> None:
        super().__init__(ear)
        self._breaks = breaks
        self._response: OpenResponse | None = None
        self._due_ms: int | None = None

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        self._response, self.deadline_ms = response, now_ms + 50

    def on_time(self, now_ms: int) -> None:
        if self.deadline_ms is None or now_ms < self.deadline_ms or self._response is None:
            return
        if self._breaks:
            raise ZeroDivisionError
        self.deadline_ms = None
        self._response.say("late", bytes(480))
        self._response.finish(None)


class ParrotEngine:
    """An engine of parrots, the first dials refused."""

    def __init__(self, refusals: tuple[int, ...] = (), make: Callable[[TurnEvents], Parrot] = Parrot) -> None:
        self._refusals = refusals
        self._make = make
        self.brains: list[Parrot] = []
        self.drop: Callable[[], None] = lambda: None

    def refuses(self, attempt: int) -> int | None:
        return self._refusals[attempt] if attempt < len(self._refusals) else None

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        self.drop = on_drop

        def brain(ear: TurnEvents) -> Parrot:
            self.brains.append(self._make(ear))
            return self.brains[-1]

        clock = LoopClock(asyncio.get_running_loop(), 0.0)
        return RealtimeServer(brain, CountingIds(), emit, now_ms=clock.now_ms(), wall_s=0.0, model="parrot")


class Rig:
    """One dial of an engine."""

    def __init__(self, engine: ParrotEngine) -> None:
        self.engine = engine
        self.events: list[ModelEvent] = []
        self.faults: list[BaseException] = []
        self.done = asyncio.Event()
        self.deliver: Callable[[ModelEvent], None] = self._keep
        self.connector = InProcessConnector(engine, LoopClock(asyncio.get_running_loop(), 0.0), CountingIds())

    async def dial(self, attempt: int = 0) -> ModelLeg:
        return await self.connector.dial(SETUP, attempt, lambda event: self.deliver(event), self._fault)

    def _keep(self, event: ModelEvent) -> None:
        self.events.append(event)
        if isinstance(event, ResponseEnded | ModelLost):
            self.done.set()

    def _fault(self, fault: BaseException) -> None:
        self.faults.append(fault)
        self.done.set()

    async def until_done(self) -> None:
        async with asyncio.timeout(5):
            await self.done.wait()


def ask(do: str = "say:hello finish", name: str = "pb_ask") -> RequestResponse:
    return RequestResponse(ResponseRequest(name, False, {"do": do}, None, None))


def test_a_session_is_ready_at_once_and_answers() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        leg = await rig.dial()
        await turn()
        assert rig.events == [ModelReady(ModelSession("sess_1", "parrot"))]
        leg.send(ask())
        await turn()
        kinds = [type(event) for event in rig.events]
        assert kinds.index(ResponseStarted) < kinds.index(AgentText)
        assert AgentAudio in kinds
        assert kinds[-1] is ResponseEnded
        leg.close()

    asyncio.run(main())


def test_a_long_message_waits_a_turn_and_what_comes_after_it_waits_behind_it() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        leg = await rig.dial()
        await turn()
        leg.send(ask("finish " + "x" * LONG_MESSAGE_BYTES, name="pb_long"))  # refused: metadata is bounded
        leg.send(ask())
        (brain,) = rig.engine.brains
        assert brain.notes == []
        await rig.until_done()
        kinds = [type(event) for event in rig.events]
        assert kinds[1:3] == [ModelRefused, ResponseStarted]
        told = len(rig.events)
        leg.send(ask("finish " + "x" * LONG_MESSAGE_BYTES))
        leg.close()
        await turn()
        assert len(rig.events) == told
        assert rig.faults == []

    asyncio.run(main())


def test_what_a_timer_brings_is_delivered() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine(make=lambda ear: Later(ear, breaks=False)))
        leg = await rig.dial()
        leg.send(ask())
        await turn()
        assert AgentAudio not in map(type, rig.events)
        await rig.until_done()
        assert AgentAudio in map(type, rig.events)
        leg.close()

    asyncio.run(main())


def test_a_fault_of_the_engine_is_reported() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine(make=lambda ear: Later(ear, breaks=True)))
        leg = await rig.dial()
        leg.send(ask())
        await rig.until_done()
        assert [type(fault) for fault in rig.faults] == [ZeroDivisionError]
        leg.close()

    asyncio.run(main())


def test_nothing_is_delivered_inside_a_command() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        leg = await rig.dial()
        assert rig.events == []
        await turn()
        rig.events.clear()
        for name in ("pb_1", "pb_2"):
            leg.send(ask(name=name))
        assert rig.events == []
        await turn()
        assert [type(event) for event in rig.events].count(ResponseEnded) == 2
        leg.close()

    asyncio.run(main())


def test_an_event_is_delivered_only_after_the_one_before_it() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        depths: list[int] = []
        depth = 0

        def deliver(event: ModelEvent) -> None:
            nonlocal depth
            depth += 1
            depths.append(depth)
            if type(event) is ResponseEnded and len(depths) < 40:
                leg.send(ask(name=f"pb_{len(depths)}"))
            depth -= 1

        leg = await rig.dial()
        await turn()
        rig.deliver = deliver
        leg.send(ask())
        await turn()
        assert len(depths) >= 40
        assert set(depths) == {1}
        leg.close()

    asyncio.run(main())


@pytest.mark.parametrize(("status", "retryable"), [(429, True), (503, True), (401, False)])
def test_a_dial_that_is_refused_is_lost(status: int, retryable: bool) -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine((status,)))
        with pytest.raises(LegLost) as caught:
            await rig.dial(0)
        assert caught.value.retryable is retryable
        (await rig.dial(1)).close()

    asyncio.run(main())


def test_a_drop_in_mid_answer_comes_after_what_was_said() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        leg = await rig.dial()

        def deliver(event: ModelEvent) -> None:
            rig.events.append(event)
            if type(event) is AgentText:
                rig.engine.drop()

        rig.deliver = deliver
        leg.send(ask("say:hello"))
        await turn()
        kinds = [type(event) for event in rig.events]
        assert AgentAudio in kinds
        assert kinds[-1] is ModelLost
        assert kinds.count(ModelLost) == 1
        assert rig.engine.brains[0].closed
        leg.send(ask())
        await turn()
        assert len(rig.events) == len(kinds)

    asyncio.run(main())


def test_a_closed_leg_says_nothing_more() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        leg = await rig.dial()
        await turn()
        leg.send(ask())  # what it answers is not delivered any more
        leg.close()
        leg.close()
        leg.send(ask())
        await turn()
        assert rig.events == [ModelReady(ModelSession("sess_1", "parrot"))]
        assert rig.engine.brains[0].closed

    asyncio.run(main())


def test_a_tool_that_the_engine_refuses_is_done_without() -> None:
    async def main() -> None:
        rig = Rig(ParrotEngine())
        tools: list[JsonObject] = [{"type": "function"}, {"type": "function", "name": "good", "parameters": {}}]
        setup = ModelSetup(
            {**SETUP.session, "tools": tools}, PCM16_24K, PCM16_24K, False, TurnPolicy.MODEL_INTERRUPTS, None
        )
        leg = await rig.connector.dial(setup, 0, lambda event: rig.deliver(event), rig.faults.append)
        await turn()
        assert [type(event) for event in rig.events] == [ModelRefused, ModelReady]
        leg.close()

    asyncio.run(main())
