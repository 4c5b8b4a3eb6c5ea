"""A store is opened at the start, or later beside the calls; what has to wait for it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.calls.call_rig import later
from support.stores.faulty_store import FaultyStore
from support.virtual import run

from gateway.clock import LoopClock
from gateway.state.opening import MISCONFIGURED_RETRY_S, OPEN_TIMEOUT_S, StoreOpening
from sessions.stores.contract import StoreFailed, StoreMisconfigured


class Shut(FaultyStore):
    """Cannot be opened, as `faults` says in order; None: `open` hangs. After them it opens."""

    def __init__(self, clock: LoopClock, faults: list[BaseException | None]) -> None:
        super().__init__(clock)
        self.faults = faults
        self.tried_ms: list[int] = []
        self._loop_clock = clock

    async def open(self) -> None:
        self.tried_ms.append(self._loop_clock.now_ms())
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:
                await asyncio.Event().wait()
            else:
                raise fault
        await super().open()


class Rig:
    def __init__(self, faults: list[BaseException | None], *, required: bool) -> None:
        self.store = Shut(LoopClock(asyncio.get_running_loop(), 1e9), faults)
        self.noted: list[str] = []
        self.missing: list[BaseException] = []
        self.ready_faults: list[BaseException] = []
        self.opening = StoreOpening(
            self.store,
            required=required,
            on_missing=self.missing.append,
            on_open=self._opened,
            on_ready=self._ready,
        )

    async def _opened(self) -> None:
        self.noted.append("joined")

    async def _ready(self) -> None:
        if self.ready_faults:
            raise self.ready_faults.pop()
        self.noted.append("recovered")

    async def job(self) -> None:
        self.noted.append("job")


def with_rig(test: Callable[[Rig], Awaitable[None]], *faults: BaseException | None, required: bool = False) -> None:
    async def main() -> None:
        rig = Rig(list(faults), required=required)
        await test(rig)
        await rig.store.close()

    run(main())


@pytest.mark.parametrize("required", [True, False])
def test_a_store_that_opens_is_joined_and_recovered_at_the_start(required: bool) -> None:
    async def test(rig: Rig) -> None:
        await rig.opening.at_start()
        await rig.opening.run()
        await rig.opening.once_open(rig.job)
        await rig.opening.once_ready(rig.job)
        assert (rig.noted, rig.missing, rig.opening.opened) == (["joined", "recovered", "job", "job"], [], True)
        assert len(rig.store.tried_ms) == 1

    with_rig(test, required=required)


def test_a_required_store_that_cannot_be_opened_stops_the_start() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(StoreFailed, match="the disk is gone"):
            await rig.opening.at_start()
        assert (rig.noted, rig.missing) == ([], [])

    with_rig(test, StoreFailed("the disk is gone"), required=True)


def test_a_store_that_is_not_configured_rightly_stops_the_start_even_if_it_is_not_required() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(StoreMisconfigured):
            await rig.opening.at_start()

    with_rig(test, StoreMisconfigured("it is a database of another program"))


def test_it_is_tried_again_at_growing_distances_until_it_opens_and_nothing_is_logged_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(rig: Rig) -> None:
        await rig.opening.at_start()
        assert [str(fault) for fault in rig.missing] == ["gone"]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(rig.opening.once_ready(rig.job))
            tasks.create_task(rig.opening.run())
            await later(0.1)
            assert (rig.noted, rig.opening.opened) == ([], False)
        assert (rig.noted, len(rig.missing)) == (["joined", "recovered", "job"], 1)
        tried = rig.store.tried_ms
        assert len(tried) == 9
        assert 800 <= tried[1] - tried[0] <= 1200
        assert 24_000 <= tried[-1] - tried[-2] <= 36_000

    with_rig(test, *(StoreFailed("gone") for _ in range(8)))
    assert caplog.messages == []


def test_a_store_that_hangs_or_raises_anything_is_tried_again() -> None:
    async def test(rig: Rig) -> None:
        began_s = asyncio.get_running_loop().time()
        await rig.opening.at_start()
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(OPEN_TIMEOUT_S, abs=0.1)
        await rig.opening.run()
        assert (rig.opening.opened, [str(fault) for fault in rig.missing]) == (True, ["it did not open within 10 s"])

    with_rig(test, None, SystemExit(2), asyncio.CancelledError(), None)


def test_a_store_that_turns_out_not_to_be_configured_rightly_is_alarmed_once_and_tried_slowly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(rig: Rig) -> None:
        await rig.opening.at_start()
        await rig.opening.run()
        tried = rig.store.tried_ms
        assert all(tried[index + 1] - tried[index] >= MISCONFIGURED_RETRY_S * 800 for index in (1, 2, 3))
        assert rig.opening.opened

    with_rig(test, StoreFailed("gone"), *(StoreMisconfigured("no role") for _ in range(3)))
    assert caplog.messages == ["the store cannot be used as it is configured"]


def test_a_recovery_that_breaks_is_tried_again_and_the_store_is_joined_once() -> None:
    async def test(rig: Rig) -> None:
        await rig.opening.at_start()
        rig.ready_faults = [TypeError("no dict")]
        with pytest.raises(TypeError):
            await rig.opening.run()
        await rig.opening.run()
        assert rig.noted == ["joined", "recovered"]

    with_rig(test, StoreFailed("gone"))
