"""Writes documents that were kept beside the store: each session's together, a few sessions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gateway.guard import Boundary
from gateway.state.kept import Kept
from gateway.state.writer import StateWriter, WriteCounts
from sessions.stores.contract import BadDocument, Document, SessionKey, StoreBusy, StoreFailed

BATCH_DOCUMENTS = 100
BATCH_BYTES = 1024 * 1024
# A request takes about a millisecond of the loop, and nobody waits for these: the sound of calls comes between them.
SESSIONS_AT_ONCE = 4

T = TypeVar("T")


@dataclass(slots=True)
class Replayed:
    """What became of one batch. Documents that are neither in `done` nor in `odd` were refused by the store."""

    done: dict[SessionKey, set[str]] = field(default_factory=dict)  # stored, or dropped for good
    stored: int = 0
    # Documents for which the store raised what its contract does not allow, by session and document id.
    odd: dict[SessionKey, dict[str, BaseException]] = field(default_factory=dict)
    refusal: StoreFailed | TimeoutError | None = None  # if there were several, one that is not StoreBusy

    def refused(self, fault: StoreFailed | TimeoutError) -> None:
        """Note a refusal."""
        if self.refusal is None or isinstance(self.refusal, StoreBusy):
            self.refusal = fault


async def for_each(
    sessions: Mapping[SessionKey, T], at_once: int, work: Callable[[SessionKey, T], Awaitable[None]]
) -> None:
    """Await `work` for each session, at most `at_once` at the same time."""
    room = asyncio.Semaphore(at_once)

    async def one(key: SessionKey, documents: T) -> None:
        async with room:
            await work(key, documents)

    async with asyncio.TaskGroup() as writes:
        for key, documents in sessions.items():
            writes.create_task(one(key, documents))


async def replay(writer: StateWriter, counts: WriteCounts, sessions: Mapping[SessionKey, Sequence[Kept]]) -> Replayed:
    """Write one batch of kept documents. Raises nothing; documents that no store takes are counted as lost."""
    replayed = Replayed()
    await for_each(sessions, SESSIONS_AT_ONCE, partial(_replay_session, writer, counts, replayed))
    return replayed


async def _replay_session(
    writer: StateWriter, counts: WriteCounts, replayed: Replayed, key: SessionKey, kept: Sequence[Kept]
) -> None:
    documents: dict[str, Document] = {one.id: one.document for one in kept}
    fence = kept[-1].fence  # all of them were kept by the same process
    faults: list[BaseException] = []
    with Boundary(faults.append):
        await writer.write(key, documents, fence)
        replayed.done.setdefault(key, set()).update(documents)
        replayed.stored += len(documents)
        return
    fault = faults[0]
    if isinstance(fault, StoreFailed | TimeoutError):
        replayed.refused(fault)
    elif len(kept) > 1:  # one of them may be at fault; the others are written alone
        for one in kept:
            await _replay_session(writer, counts, replayed, key, [one])
    elif isinstance(fault, BadDocument):
        counts.lose(1, str(fault))
        replayed.done.setdefault(key, set()).update(documents)
    else:
        replayed.odd.setdefault(key, {})[kept[0].id] = fault
