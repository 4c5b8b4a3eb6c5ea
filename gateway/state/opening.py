"""Opens the store at the start; a server that may start without it goes on trying beside its calls."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.guard import Boundary, kind_and_place
from sessions.errors import VoiceError
from sessions.stores.contract import Store, StoreFailed, StoreMisconfigured

RETRY_S = 1.0  # doubled after each failure
RETRY_MAX_S = 30.0
# For a store that answers, but whose setting, key or layout is wrong. Somebody may mend that on the store's side, and
# calls are taken meanwhile, so the server goes on.
MISCONFIGURED_RETRY_S = 60.0
OPEN_TIMEOUT_S = 10.0

log = logging.getLogger("patchbay.state")


class StoreOpening:
    """Opens the store, and does in order what has to wait for that."""

    def __init__(
        self,
        store: Store,
        *,
        required: bool,
        on_missing: Callable[[BaseException], None],
        on_open: Callable[[], Awaitable[None]],
        on_ready: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_missing` is called if the server starts without its store.

        Once it is open, `on_open` is awaited, and then `on_ready`.
        """
        self._store = store
        self._required = required
        self._on_missing = on_missing
        self._on_open = on_open
        self._on_ready = on_ready
        self._opened = False
        self._open = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def opened(self) -> bool:
        """Whether the store has been opened."""
        return self._opened

    async def at_start(self) -> None:
        """Open the store. Raises StoreFailed if it cannot be opened, unless the server may start without it.

        Raises StoreMisconfigured also then: no later try would help, and nobody should hear of it after days.
        """
        if self._required:
            await self._store.open()
            await self._begin()
            return
        fault = await self._try()
        if isinstance(fault, StoreMisconfigured):
            raise fault
        if fault is None:
            await self._begin()
        else:
            self._on_missing(fault)

    async def run(self) -> None:
        """Go on trying until the store is open. The application runs this as a task."""
        wait_s, misconfigured = RETRY_S, False
        while not self._opened:
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
            wait_s = min(2 * wait_s, RETRY_MAX_S)
            fault = await self._try()
            if isinstance(fault, StoreMisconfigured):
                wait_s = MISCONFIGURED_RETRY_S
                if not misconfigured:
                    log.error("the store cannot be used as it is configured", extra={"reason": str(fault)})
                misconfigured = True
        if not self._ready.is_set():
            await self._begin()

    async def once_open(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job as soon as `on_open` has returned."""
        await self._open.wait()
        await job()

    async def once_ready(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job as soon as `on_ready` has returned."""
        await self._ready.wait()
        await job()

    async def _try(self) -> BaseException | None:
        """Try to open the store; what it raised, or None."""
        faults: list[BaseException] = []
        with Boundary(faults.append):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._store.open()
            self._opened = True
            return None
        fault = faults[0]
        if isinstance(fault, TimeoutError):
            return StoreFailed(f"it did not open within {OPEN_TIMEOUT_S:g} s")
        return fault if isinstance(fault, VoiceError) else StoreFailed(f"it cannot be opened: {kind_and_place(fault)}")

    async def _begin(self) -> None:
        self._opened = True
        if not self._open.is_set():
            await self._on_open()
            self._open.set()
        await self._on_ready()
        self._ready.set()
