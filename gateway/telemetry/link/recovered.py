"""Sends the sessions of dead servers once their records are complete, without what the dead server's courier has sent.

That courier lives for some seconds longer than its server, and writes down what it sends. So this waits for its end
before it reads the ledger. A server that died on another machine has no ledger here: its session is sent whole, with
the same ids as before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.guard import Boundary, cause_of
from gateway.telemetry.link.ledger import in_use, read_lines
from gateway.telemetry.link.link import TelemetryLink
from gateway.telemetry.link.wire import LEAVE_S
from sessions.stores.contract import SessionKey, Store
from sessions.stores.documents import SESSION_ID, TURN
from sessions.stores.scores import SCORE

log = logging.getLogger("patchbay.telemetry")
T = TypeVar("T")
MAX_WAITING = 10_000  # sessions
POLL_S = 0.25
OLD_S = 7 * 86_400.0  # after which a ledger is of no use


def ledger_path(folder: Path, boot: str) -> Path:
    """The ledger of one run of the server."""
    return folder / f"{boot}.jsonl"


class RecoveredSessions:
    """The queue of sessions that were completed for dead servers."""

    def __init__(
        self, link: TelemetryLink, store: Store, folder: Path, *, scores: bool = False, inline: bool = False
    ) -> None:
        """`folder` holds the ledgers of this machine's servers. `scores`: whether a destination takes scores."""
        self._link = link
        self._store = store
        self._folder = folder
        self._inline = inline
        self._scores = scores
        self._waiting: deque[tuple[SessionKey, str]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()

    def ended(self, key: SessionKey, boot: str) -> None:
        """Note a session that this process has ended for a dead one, whose boot id is given."""
        self._waiting.append((key, boot))
        self._wake.set()

    async def run(self) -> None:
        """Send sessions for as long as the server runs. The application runs this as a task."""
        await self._offload(partial(remove_old, self._folder, time.time() - OLD_S))
        while True:
            self._wake.clear()
            while self._waiting:
                key, boot = self._waiting.popleft()
                with Boundary(_log_fault):
                    await self._send(key, boot)
            await self._wake.wait()

    async def _send(self, key: SessionKey, boot: str) -> None:
        path = ledger_path(self._folder, boot)
        for _ in range(int(LEAVE_S / POLL_S)):
            if not await self._offload(partial(in_use, path)):
                break
            await asyncio.sleep(POLL_S)
        await self._link.room()
        lines = await self._offload(lambda: [line for line in read_lines(path) if line[0] == key.session_id])
        self._link.sent(key.session_id, lines)
        session = await self._store.get(key.tenant, key.session_id, SESSION_ID)
        self._link.document(session)
        for document in await self._store.query(key.tenant, key.session_id, TURN):
            self._link.document(document)
        if self._scores:
            for score in await self._store.query(key.tenant, key.session_id, SCORE):
                self._link.score(session, score)

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)


def remove_old(folder: Path, before_s: float) -> None:
    """Remove the ledgers that nobody has written to since `before_s`."""
    for path in folder.glob("*.jsonl"):
        with Boundary(_log_fault):
            if path.stat().st_mtime < before_s and not in_use(path):
                path.unlink(missing_ok=True)


def _log_fault(fault: BaseException) -> None:
    log.error("a session of a dead server cannot be sent", extra=cause_of(fault))
