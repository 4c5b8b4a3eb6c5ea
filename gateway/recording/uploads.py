"""Puts the files of finished recordings into the blob store, several recordings side by side.

A recording's folder is removed only after the blob store has confirmed all of its files. While the blob store refuses,
the recording waits in its folder and is tried again, after a pause that grows to a minute, or as soon as another one
could be stored. What still waits when the process ends is left for the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from gateway.blobs.contract import BlobFailed, Blobs
from gateway.blobs.disk import passes
from gateway.guard import Boundary, kind_and_place
from gateway.recording.eventlog import EVENTS_FILE
from gateway.recording.jobs import STEREO_FILE, FinishJob, names_to_keep, pause_s, remove_folder
from gateway.recording.tracks import INDEX_FILE
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState

SIDE_BY_SIDE = 4  # recordings; each holds a block of some MiB in memory
FORGET_S = 5.0  # how long a deletion waits for an upload of its session

log = logging.getLogger("patchbay.recording")
T = TypeVar("T")


@dataclass(slots=True)
class Made:
    """A recording whose files are made. `result` is that of the program which made them."""

    job: FinishJob
    result: dict[str, Any]
    refusals: int = 0
    timer: asyncio.TimerHandle | None = None  # set while it pauses after a refusal
    waits: bool = True  # until it is stored or given up


class Uploads:
    """Holds the recordings that the blob store does not have yet. `give_up` gets those that cannot be stored."""

    def __init__(self, blobs: Blobs, give_up: Callable[[FinishJob, str], None], *, inline: bool = False) -> None:
        self._blobs = blobs
        self._give_up = give_up
        self._inline = inline
        self._waiting: list[Made] = []
        self._in_hand: dict[SessionKey, asyncio.Event] = {}  # set once the upload is over
        self._forgotten: set[SessionKey] = set()
        self._wake = asyncio.Event()
        self._alarmed = False

    @property
    def waiting(self) -> int:
        """How many recordings the blob store does not have yet."""
        return len(self._waiting) + len(self._in_hand)

    def add(self, job: FinishJob, result: dict[str, Any]) -> None:
        """Take a recording whose files are made."""
        self._waiting.append(Made(job, result))
        self._wake.set()

    async def run(self) -> None:
        """Store recordings until this task is cancelled."""
        await self._work(stay=True)

    async def run_waiting(self) -> None:
        """Try each recording that waits once, without its pause; return once no upload is under way."""
        for made in self._waiting:
            self._end_pause(made)
        await self._work(stay=False)

    async def forget(self, key: SessionKey) -> bool:
        """Drop the recording of a session that is being deleted.

        True once nothing of it is left here. False if an upload of it does not end within some seconds; then its folder
        and what it has stored are removed when it ends.
        """
        self._forgotten.add(key)
        over = self._in_hand.get(key)
        if over is not None:
            try:
                async with asyncio.timeout(FORGET_S):
                    await over.wait()
            except TimeoutError:
                return False
        for made in [made for made in self._waiting if made.job.key == key]:
            self._end_pause(made)
            self._waiting.remove(made)
            await self._offload(partial(remove_folder, made.job.folder))
        self._forgotten.discard(key)
        return True

    async def _work(self, *, stay: bool) -> None:
        """Start uploads as they become due; with `stay` false, only until none is due or under way."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                while (made := self._next()) is not None:
                    self._waiting.remove(made)
                    self._in_hand[made.job.key] = asyncio.Event()
                    tasks.create_task(self._store(made)).add_done_callback(partial(self._over, made))
                if not stay and not self._in_hand:
                    return
                self._wake.clear()
                await self._wake.wait()

    def _next(self) -> Made | None:
        """The first recording that does not pause; None while the bound is reached, or if there is none."""
        if len(self._in_hand) >= SIDE_BY_SIDE:
            return None
        due = (made for made in self._waiting if made.timer is None and made.job.key not in self._in_hand)
        return next(due, None)

    def _end_pause(self, made: Made) -> None:
        if made.timer is not None:
            made.timer.cancel()
            made.timer = None
            self._wake.set()

    async def _store(self, made: Made) -> None:
        """Store one recording, or let it wait, or give it up."""
        faults: list[BaseException] = []
        with Boundary(faults.append):
            await self._put(made)
            for other in self._waiting:  # the store works, so nothing has to wait for its next attempt
                self._end_pause(other)
        made.waits = bool(faults) and self._waits(made, faults[0])

    def _over(self, made: Made, _: asyncio.Task[None]) -> None:
        """An upload has ended, or was cancelled, possibly before it began."""
        if made.waits:
            self._waiting.append(made)
        self._in_hand.pop(made.job.key).set()
        self._wake.set()
        if self._alarmed and not any(made.refusals for made in self._waiting):
            self._alarmed = False
            log.warning("the recordings that had to wait are stored")

    async def _put(self, made: Made) -> None:
        """Put the files of the folder into the blob store, say so, and remove the folder."""
        job = made.job
        sizes: dict[str, int] = {}
        for name in await self._offload(partial(names_to_keep, job)):
            if job.key in self._forgotten:
                break
            size = await self._blobs.put_file(job.key.tenant, job.key.session_id, name, job.folder / name)
            if type(size) is not int:
                raise TypeError("the blob store did not return a size in bytes")
            sizes[name] = size
        if job.key in self._forgotten:
            # The deletion may have seen none of the files that were on their way.
            await self._blobs.delete_session(job.key.tenant, job.key.session_id)
            self._forgotten.discard(job.key)
        else:
            job.on_done(_info(made, sizes))
        await self._offload(partial(remove_folder, job.folder))

    def _waits(self, made: Made, fault: BaseException) -> bool:
        """After an error: let the recording wait, or give it up. Says whether it waits."""
        key = made.job.key
        passing = fault.passing if isinstance(fault, BlobFailed) else isinstance(fault, OSError) and passes(fault)
        reason = str(fault) if isinstance(fault, BlobFailed | OSError) else kind_and_place(fault)
        if not passing and key not in self._forgotten:
            self._give_up(made.job, reason)
            return False
        made.refusals += 1
        made.timer = asyncio.get_running_loop().call_later(pause_s(made.refusals), self._end_pause, made)
        if not self._alarmed:
            self._alarmed = True
            log.error("the blob store takes no recordings now; they wait", extra={"reason": reason})
        return True

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)


def _info(made: Made, sizes: dict[str, int]) -> RecordingInfo:
    """The facts of a stored recording."""
    job, result = made.job, made.result
    return RecordingInfo(
        state=RecordingState.READY if sizes else RecordingState.OFF,
        complete=job.complete and bool(result.get("complete", True)),
        stereo=STEREO_FILE if STEREO_FILE in sizes else None,
        rate_hz=result.get("rate_hz"),
        duration_ms=result.get("duration_ms"),
        payload_bytes=sizes.get(STEREO_FILE),
        events=EVENTS_FILE if EVENTS_FILE in sizes else None,
        tracks=INDEX_FILE if INDEX_FILE in sizes else None,
    )
