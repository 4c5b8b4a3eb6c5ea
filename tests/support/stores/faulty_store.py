"""Real stores that a test can break: within the contract of a store, and outside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sessions.ports import Clock
from sessions.stores.contract import Conflict, Document, IfMatch, SessionKey, StoreFailed, Write
from sessions.stores.sqlite import SqliteStore


class FaultyStore(SqliteStore):
    """Fails every write while `broken`, hangs in every write while `hanging`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(":memory:", clock, inline=True)
        self.broken = False
        self.hanging = False
        self.transactions = 0
        self.written = asyncio.Event()

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        if self.hanging:
            await asyncio.Event().wait()
        if self.broken:
            raise StoreFailed("the disk is gone")
        etags = await super().put_many(writes)
        self.transactions += 1
        self.written.set()
        return etags

    async def put(self, document: Document, if_match: IfMatch) -> str:
        return (await self.put_many([Write(document, if_match)]))[0]


# What a foreign part may raise, whatever its contract says.
ODD_FAULTS: tuple[BaseException, ...] = (
    SystemExit(2),
    KeyboardInterrupt(),
    RecursionError("maximum recursion depth exceeded"),
    TypeError("unhashable type"),
    OSError(5, "Input/output error"),
    sqlite3.OperationalError("database or disk is full"),
    sqlite3.DatabaseError("database disk image is malformed"),
    MemoryError(),
    asyncio.CancelledError(),
    BaseExceptionGroup("several", [SystemExit(1)]),
)
# What a foreign part may return, whatever its contract says.
ODD_ANSWERS: tuple[Any, ...] = (None, [], [None], ["x"], 7, b"bytes", "words", {}, {"id": 3}, [{"id": "session"}])


class OddStore(SqliteStore):
    """Breaks the contract in one operation, for the session `odd_for`: it calls `odd`, which raises or returns a value.

    Operations that concern no single session break the contract at each call.
    """

    def __init__(self, clock: Clock, operation: str, odd: Callable[[], Any], odd_for: str = "odd") -> None:
        super().__init__(":memory:", clock, inline=True)
        self._operation = operation
        self._odd = odd
        self._odd_for = odd_for
        self.well = False  # once True, the store meets its contract

    def _is_odd(self, operation: str, session_id: object) -> bool:
        return not self.well and operation == self._operation and session_id in (None, self._odd_for)

    async def put(self, document: Document, if_match: IfMatch) -> str:
        if self._is_odd("put", document["session_id"]):
            return self._odd()  # type: ignore[no-any-return]
        return (await super().put_many([Write(document, if_match)]))[0]

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        if writes and self._is_odd("put_many", writes[0].document["session_id"]):
            return self._odd()  # type: ignore[no-any-return]
        return await super().put_many(writes)

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        if self._is_odd("get", session_id):
            return self._odd()  # type: ignore[no-any-return]
        return await super().get(tenant, session_id, document_id)

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        if self._is_odd("query", session_id):
            return self._odd()  # type: ignore[no-any-return]
        return await super().query(tenant, session_id, document_type)

    async def left_live(self, boot: str | None = None) -> list[Document]:
        return self._odd() if self._is_odd("left_live", None) else await super().left_live(boot)

    async def expired(self, now_s: float) -> list[SessionKey]:
        return self._odd() if self._is_odd("expired", None) else await super().expired(now_s)

    async def delete_session(self, tenant: str, session_id: str) -> int:
        if self._is_odd("delete_session", session_id):
            return self._odd()  # type: ignore[no-any-return]
        return await super().delete_session(tenant, session_id)


def raising(fault: BaseException) -> Callable[[], Any]:
    """An operation that raises `fault`."""

    def operation() -> Any:
        raise fault

    return operation


def answering(answer: Any) -> Callable[[], Any]:
    """An operation that returns `answer`."""
    return lambda: answer


class LostAnswers(FaultyStore):
    """Commits the next `loses` writes that have a condition, and answers with a Conflict.

    So it looks when a client repeats a request whose answer was lost.
    """

    loses = 0

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        etags = await super().put_many(writes)
        if self.loses and any(write.if_match is not None for write in writes):
            self.loses -= 1
            raise Conflict("the document has changed")
        return etags
