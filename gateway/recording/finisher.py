"""The queue of finished calls whose recordings are to be made, by one program at a time beside the serving process.

The files in a call's folder are made here and put into the blob store by `uploads.py`, which removes the folder. While
the disk refuses, a recording waits and is tried again. A recording that fails for another reason is given up after the
second attempt; its folder stays where it is, for the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.blobs.contract import Blobs
from gateway.blobs.disk import passes
from gateway.guard import Boundary, cause_of, kind_and_place
from gateway.recording.jobs import RETRY_S, FinishJob, remove_folder, write_job
from gateway.recording.making import make_in_process, make_in_program
from gateway.recording.uploads import FORGET_S, Uploads
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo, RecordingState

BATCH_MAX_JOBS = 16  # for one program, because its start takes longer than the recording of a short call
ATTEMPTS = 2
JOB_TIMEOUT_S = 300.0  # a call of an hour takes some seconds

log = logging.getLogger("patchbay.recording")
T = TypeVar("T")


class Finisher:
    """Makes recordings, one batch after another, while others are stored; `inline` makes them in this process."""

    def __init__(self, blobs: Blobs, *, inline: bool = False) -> None:
        self._uploads = Uploads(blobs, self._retry, inline=inline)
        self._inline = inline
        self._jobs: deque[FinishJob] = deque()
        self._refused: list[FinishJob] = []  # jobs that wait because the disk refused them
        self._in_work: set[SessionKey] = set()
        self._batch_over = asyncio.Event()
        self._alarmed = False
        self._wake = asyncio.Event()
        self._forgotten: set[SessionKey] = set()
        self._busy = asyncio.Lock()  # held while a batch is in work
        self._closing = False
        self.failed = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for their recording, or the recording for the blob store."""
        return len(self._jobs) + len(self._refused) + len(self._in_work) + self._uploads.waiting

    def submit(self, job: FinishJob) -> None:
        """Queue a call. All its files must be written."""
        self._jobs.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Make and store recordings until `close`. The application runs this as a task for its whole life."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._uploads.run())
            while not self._closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if self._refused else None):
                        await self._wake.wait()
                self._wake.clear()
                with Boundary(partial(_log_fault, "a round of making recordings failed; they are tried again")):
                    await self._make_waiting()
            keeping.cancel()

    async def run_waiting(self) -> None:
        """Make and store all recordings that wait; return once only those are left that are refused now."""
        while True:
            await self._make_waiting()
            await self._uploads.run_waiting()
            if not self._jobs or self._closing:  # what could not be stored may have to be made again
                return

    async def _make_waiting(self) -> None:
        """Make all recordings that wait; return once only those are left that the disk refuses now."""
        async with self._busy:
            self._jobs.extend(self._refused)
            self._refused.clear()
            while self._jobs and not self._closing:
                jobs, refused = self._next(), len(self._refused)
                self._in_work = {job.key for job in jobs}
                self._batch_over.clear()
                try:
                    await self._batch(jobs)
                finally:
                    self._in_work = set()
                    self._batch_over.set()
                # If all of them were refused, the disk is at fault, and the next batch would be refused too.
                if len(self._refused) - refused == len(jobs):
                    self._refused.extend(self._jobs)
                    self._jobs.clear()
            self._log_recovered()

    def _next(self) -> list[FinishJob]:
        """The jobs for the next program. A job that may have crashed its program is run alone the next time."""
        jobs = [self._jobs.popleft()]
        while self._jobs and len(jobs) < BATCH_MAX_JOBS and not jobs[0].attempts and not self._jobs[0].attempts:
            jobs.append(self._jobs.popleft())
        return jobs

    async def forget(self, key: SessionKey) -> bool:
        """Drop the recording of a session that is being deleted.

        True once nothing of it is left here, and its folder is removed, if it had one. False if it is in work and does
        not come to an end within some seconds; then its folder is removed as soon as it does.
        """
        self._forgotten.add(key)
        for queue in (self._jobs, self._refused):
            for job in [job for job in queue if job.key == key]:
                queue.remove(job)
                await self._offload(partial(remove_folder, job.folder))
        if key in self._in_work:
            try:
                async with asyncio.timeout(FORGET_S):
                    await self._batch_over.wait()
            except TimeoutError:
                return False
        self._forgotten.discard(key)
        return await self._uploads.forget(key)

    def close(self) -> None:
        """End `run` after the batch in work; the next start finds the waiting calls in their folders."""
        self._closing = True
        self._wake.set()
        if self.waiting:
            log.warning("recordings wait for the next start", extra={"recordings": self.waiting})

    async def _batch(self, jobs: list[FinishJob]) -> None:
        made: dict[Path, dict[str, Any]] = {}
        with Boundary(partial(_log_fault, "the program that makes recordings failed")):
            made = await self._make([job for job in jobs if job.stereo])
        for job in jobs:
            with Boundary(partial(self._settle_failed, job)):
                await self._settle(job, made.get(job.folder, {"error": "the program died"}) if job.stereo else {})

    async def _settle(self, job: FinishJob, result: dict[str, Any]) -> None:
        """Pass a job on, retry or drop it according to its result."""
        if job.key in self._forgotten:
            await self._offload(partial(remove_folder, job.folder))
            self._forgotten.discard(job.key)
        elif "error" not in result:
            self._uploads.add(job, result)
        elif result.get("passing"):
            self._refuse(job, str(result["error"]))
        else:
            self._retry(job, str(result["error"]))

    def _settle_failed(self, job: FinishJob, fault: BaseException) -> None:
        self._retry(job, kind_and_place(fault))

    async def _make(self, jobs: list[FinishJob]) -> dict[Path, dict[str, Any]]:
        """Have the stereo files made; returns the results by folder, without those that the program did not report."""
        if not jobs:
            return {}
        made: dict[Path, dict[str, Any]] = {}
        folders: dict[str, Path] = {}  # by the path of the job file
        for job in jobs:
            try:
                folders[str(await self._offload(partial(write_job, job)))] = job.folder
            except OSError as error:
                made[job.folder] = {"error": error.strerror, "passing": passes(error)}
        results = (
            make_in_process(folders) if self._inline else await make_in_program(folders, JOB_TIMEOUT_S * BATCH_MAX_JOBS)
        )
        return made | {folders[result["job"]]: result for result in results}

    def _refuse(self, job: FinishJob, reason: str) -> None:
        """Let the job wait until the disk works again."""
        if not self._alarmed:
            self._alarmed = True
            log.error("recordings cannot be made now; they wait", extra={"reason": reason})
        self._refused.append(job)

    def _log_recovered(self) -> None:
        if self._alarmed and not self._refused:
            self._alarmed = False
            log.warning("the recordings that had to wait are made")

    def _retry(self, job: FinishJob, reason: str) -> None:
        """After an error that does not pass, make the recording once more; then give it up until the next start."""
        if job.attempts + 1 < ATTEMPTS:
            self._jobs.append(replace(job, attempts=job.attempts + 1))
            self._wake.set()
            return
        self.failed += 1
        log.error("a recording could not be made", extra={"session_id": job.key.session_id, "reason": reason})
        with Boundary(partial(_log_fault, "the failure of a recording could not be saved")):
            job.on_done(RecordingInfo(RecordingState.FAILED, complete=False))

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)


def _log_fault(message: str, fault: BaseException) -> None:
    log.error(message, extra=cause_of(fault))
