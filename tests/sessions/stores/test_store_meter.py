"""The figures of a remote store: each operation with its outcome and time, each request with its cost."""

from __future__ import annotations

import asyncio

import pytest
from support.stores.store_contract import HandClock

from sessions.stores.contract import BadDocument, Conflict, Missing, StoreBusy, StoreFailed
from sessions.stores.store_meter import StoreMeter


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Conflict("x"), "conflict"),
        (Missing("x"), "missing"),
        (BadDocument("x"), "bad_document"),
        (StoreBusy("x", retry_after_ms=1), "busy"),
        (StoreFailed("x"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_an_operation_counts_by_its_outcome_with_its_time(error: BaseException, outcome: str) -> None:
    meter, clock = StoreMeter(), HandClock()

    def fail() -> None:
        with meter.measured("put", clock.now_ms):
            clock.ms += 250
            raise error

    with pytest.raises(type(error)):
        fail()
    assert meter.operations == {("put", outcome): 1}
    assert meter.operation_ms == {"put": 250}


def test_requests_count_to_the_operation_of_their_own_task() -> None:
    meter, clock, in_turn = StoreMeter(), HandClock(), asyncio.Barrier(2)

    async def one(operation: str, units: float) -> None:
        with meter.measured(operation, clock.now_ms):
            for _ in range(3):
                await in_turn.wait()
                meter.request(units, throttled=operation == "get")

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one("put", 6.25))
            tasks.create_task(one("get", 1))

    asyncio.run(main())
    meter.request(2, throttled=False)
    assert meter.request_units == {"put": 1875, "get": 300, "other": 200}
    assert meter.throttled == 3
