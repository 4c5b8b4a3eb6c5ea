"""gateway/models/local/engines.py and engine.py: which versions of an agent are loaded, and when they are released"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from support.anything import ANYTHING
from support.calls.call_rig import later
from support.local.local_world import front_desk_offline, parts_or_skip

from gateway.config.settings import LocalModels
from gateway.ids import CountingIds
from gateway.models.local.engines import KEEP_UNUSED_MS, LocalEngines
from gateway.models.local.speech.detector import MissingPart
from sessions.agent import Agent, AgentLimits, ModelChoice, ReplayPolicy, TurnDetection


class HandClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms

    def wall_s(self) -> float:
        return 0.0


def version(name: str, **offline: Any) -> Agent:
    parts_or_skip()
    return Agent(
        name="desk",
        version=name,
        model=ModelChoice("local", "offline"),
        voice=None,
        greeting=None,
        instructions="",
        turn_detection=TurnDetection(),
        tools=(),
        offline={**front_desk_offline(), **offline},
        client_may_set=frozenset(),
        recording=False,
        replay=ReplayPolicy.OFF,
        limits=AgentLimits(),
    )


class World:
    """Engines with their clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.engines = LocalEngines(LocalModels(), self.clock, CountingIds())

    async def keep(self, *versions: str) -> None:
        """Call `keep` twice, with the grace period between."""
        await self.engines.keep(set(versions))
        self.clock.ms += KEEP_UNUSED_MS
        await self.engines.keep(set(versions))


def grammars() -> int:
    """The number of grammars in the decoders."""
    return parts_or_skip().decoders.grammars


def test_a_version_that_no_call_uses_is_released_with_its_grammars() -> None:
    async def main() -> None:
        world = World()
        before = grammars()
        assert await world.engines.load(version("1")) is None
        one = grammars() - before
        assert one > 0
        for name in "234":
            assert await world.engines.load(version(name)) is None
            await world.keep(name)
            gc.collect()
            await world.keep(name)
            assert world.engines.get(name) is not None
            assert grammars() - before == one
        assert world.engines.get("1") is None
        await world.keep()
        assert grammars() == before

    asyncio.run(main())


def test_a_version_in_use_stays_loaded_and_is_reused_if_the_edit_is_undone() -> None:
    async def main() -> None:
        world = World()
        before = grammars()
        await world.engines.load(version("1"))
        in_use = world.engines.get("1")
        await world.engines.load(version("2"))
        await world.keep("2")
        assert world.engines.get("1") is None  # for new calls
        assert grammars() > before
        server = in_use.server(lambda message: None, lambda: None, 0)
        server.open(0)
        server.close()
        await world.engines.load(version("1"))
        assert world.engines.get("1") is in_use
        await world.keep()
        del in_use, server
        gc.collect()
        await world.keep()
        assert grammars() == before

    asyncio.run(main())


def test_a_version_is_kept_a_while_for_callers_already_admitted() -> None:
    async def main() -> None:
        world = World()
        await world.engines.load(version("1"))
        world.clock.ms = KEEP_UNUSED_MS - 1
        await world.engines.keep(set())
        assert world.engines.get("1") is not None
        world.clock.ms = KEEP_UNUSED_MS
        await world.engines.keep(set())
        assert world.engines.get("1") is None
        await world.engines.close()

    asyncio.run(main())


def test_a_failed_load_leaves_nothing_and_is_not_repeated() -> None:
    async def main() -> None:
        world = World()
        before = grammars()
        bad = version("1", rules=[{"name": "x", "phrases": ["i want xyzzyq"], "say": "Yes."}], slots={})
        for _ in range(2):
            assert "desk: offline.pronunciations.xyzzyq" in (await world.engines.load(bad) or "")
        assert "xyzzyq" in (world.engines.problem("1") or "")
        assert grammars() == before
        await world.engines.keep(set())
        assert world.engines.problem("1") is None
        assert await world.engines.load(replace(version("2"))) is None
        await world.keep()

    asyncio.run(main())


@pytest.mark.parametrize("phones", ["Z IH Z IY K", "T EY B AH L"])
def test_an_edited_pronunciation_takes_effect(phones: str) -> None:
    async def main() -> None:
        world = World()
        rules = [{"name": "x", "phrases": ["i want xyzzyq"], "say": "Yes."}]
        assert await world.engines.load(version("1", rules=rules, pronunciations={"xyzzyq": phones})) is None
        await world.keep()

    asyncio.run(main())


class FakeEngine:
    """An engine without parts, whose resources may raise anything when they are released."""

    def __init__(self, raises: Callable[[], BaseException] | None = None, *, hangs: bool = False) -> None:
        self.resources = self
        self._raises = raises
        self.hangs = hangs
        self.closed = 0

    def forget_grammars(self) -> None:
        if self._raises is not None:
            raise self._raises()

    async def close(self) -> None:
        self.closed += 1
        while self.hangs:
            with suppress(asyncio.CancelledError):
                await later(0.02)
        self.forget_grammars()


def engines_of(make: Callable[[], Any], clock: HandClock | None = None) -> LocalEngines:
    """Engines that `make` makes, with limits of 50 ms."""
    clock = clock or HandClock()
    return LocalEngines(LocalModels(), clock, CountingIds(), make=lambda agent: make(), load_s=0.05, close_s=0.05)


@pytest.mark.parametrize("make", [*ANYTHING, StopIteration, lambda: MissingPart("the local model needs a thing")])
def test_any_exception_while_loading_becomes_the_agent_s_problem(
    make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise make()

    async def main() -> None:
        engines = engines_of(broken)
        problem = await engines.load(version("1"))
        assert problem is not None
        assert "caller said" not in problem
        assert (engines.get("1"), engines.problem("1")) == (None, problem)
        await engines.close()

    asyncio.run(main())
    assert "caller said" not in caplog.text


def test_a_load_that_never_ends_blocks_neither_other_loads_nor_the_end() -> None:
    ended = Event()

    async def main() -> None:
        engines = engines_of(ended.wait)
        assert "within" in (await engines.load(version("1")) or "")
        await engines.close()

    asyncio.run(main())
    ended.set()


@pytest.mark.parametrize("make", ANYTHING)
def test_any_exception_while_releasing_is_ignored(make: Callable[[], BaseException]) -> None:
    async def main() -> None:
        clock, made = HandClock(), FakeEngine(make)
        engines = engines_of(lambda: made, clock)
        assert await engines.load(version("1")) is None
        assert await engines.load(version("2")) is None
        resources = made.resources
        assert resources.closed == 0
        await engines.close()
        assert resources.closed == 2

        engines = engines_of(lambda: FakeEngine(make), clock)
        assert await engines.load(version("3")) is None
        clock.ms += KEEP_UNUSED_MS
        await engines.keep(set())
        assert engines.get("3") is None

    asyncio.run(main())


def test_connections_that_do_not_close_do_not_block_the_end() -> None:
    async def main() -> None:
        made = FakeEngine(hangs=True)
        engines = engines_of(lambda: made)
        await engines.load(version("1"))
        await engines.close()
        made.hangs = False

    asyncio.run(main())
