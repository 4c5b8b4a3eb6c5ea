"""The queue of finished calls whose recordings are to be made: one program at a time, beside the serving core.

What a call leaves in its folder goes into the blob store by name, and the folder is removed. While the disk or the blob
store refuses, a recording waits and is tried again. One that cannot be made for a reason of its own is given up at the
second try; its folder stays where it is, for the next start.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from gateway.guard import Boundary, innermost, place_of
from gateway.recording.blobs import BlobFailed, Blobs
from gateway.recording.disk import passes
from gateway.recording.eventlog import EVENTS_FILE
from gateway.recording.making import make_apart, make_here
from gateway.recording.tracks import AGENT_FILE, CALLER_FILE, INDEX_FILE
from sessions.documents import RecordingInfo, RecordingState
from sessions.record import PlayedSpan
from sessions.stores.contract import SessionKey

BATCH_MAX_JOBS = 16  # for one program: its start costs more than a short call's recording
ATTEMPTS = 2
RETRY_S = 2.0  # how long what the disk refused waits for the next try
JOB_TIMEOUT_S = 300.0  # an hour's call takes some seconds
JOB_FILE = "job.json"
FILE_FORMAT = "flac"
STEREO_FILE = "recording.flac"

log = logging.getLogger("patchbay.recording")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FinishJob:
    """A call that is over. `on_done` is told once how its recording came out, unless the session was deleted."""

    key: SessionKey
    folder: Path
    stereo: bool
    keep_tracks: bool
    complete: bool  # as far as the call itself knows
    played: Sequence[PlayedSpan]
    on_done: Callable[[RecordingInfo], None]
    attempts: int = 0


class Finisher:
    """Makes recordings one batch after another; `inline` makes them in this process, at once."""

    def __init__(self, blobs: Blobs, *, inline: bool = False) -> None:
        self._blobs = blobs
        self._inline = inline
        self._jobs: deque[FinishJob] = deque()
        self._refused: list[FinishJob] = []  # by the disk, or the blob store: they wait until it is well
        self._in_work = 0
        self._alarmed = False
        self._wake = asyncio.Event()
        self._forgotten: set[SessionKey] = set()
        self._busy = asyncio.Lock()  # while a batch is in work
        self._closing = False
        self.failed = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for their recording."""
        return len(self._jobs) + len(self._refused) + self._in_work

    def submit(self, job: FinishJob) -> None:
        """Queue a call. Its folder must be complete on the disk."""
        self._jobs.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Make recordings until closed; one long task of the application's group."""
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self._refused else None):
                    await self._wake.wait()
            self._wake.clear()
            with Boundary(partial(_log_fault, "the recordings that wait are tried again later")):
                await self.work_off()

    async def work_off(self) -> None:
        """Return once nothing waits any more but what the disk refuses now."""
        async with self._busy:
            self._jobs.extend(self._refused)
            self._refused.clear()
            while self._jobs and not self._closing:
                jobs, refused = self._next(), len(self._refused)
                self._in_work = len(jobs)
                try:
                    await self._batch(jobs)
                finally:
                    self._in_work = 0
                if len(self._refused) - refused == len(
                    jobs
                ):  # all of them: it is the disk, and the next would fare no better
                    self._refused.extend(self._jobs)
                    self._jobs.clear()
            self._tell()

    def _next(self) -> list[FinishJob]:
        """What one program shall make. A job that may have killed its program is alone with the next one."""
        jobs = [self._jobs.popleft()]
        while self._jobs and len(jobs) < BATCH_MAX_JOBS and not jobs[0].attempts and not self._jobs[0].attempts:
            jobs.append(self._jobs.popleft())
        return jobs

    async def forget(self, key: SessionKey) -> None:
        """Keep nothing of a session that is being deleted; returns when its folder is gone or was never here."""
        self._forgotten.add(key)
        async with self._busy:  # a batch in work sees the mark when it is done
            for queue in (self._jobs, self._refused):
                for job in [job for job in queue if job.key == key]:
                    queue.remove(job)
                    await self._offload(partial(_remove, job.folder))
        self._forgotten.discard(key)

    def close(self) -> None:
        """End `run` after the batch in work; what waits is found in its folders by the next start."""
        self._closing = True
        self._wake.set()
        if self.waiting:
            log.warning("recordings wait for the next start", extra={"recordings": self.waiting})

    async def _batch(self, jobs: list[FinishJob]) -> None:
        made: dict[Path, dict[str, Any]] = {}
        with Boundary(partial(_log_fault, "the program that makes recordings failed")):
            made = await self._make([job for job in jobs if job.stereo])
        for job in jobs:
            with Boundary(partial(self._spoilt, job)):
                await self._settle(job, made.get(job.folder, {"error": "the program died"}) if job.stereo else {})

    async def _settle(self, job: FinishJob, result: dict[str, Any]) -> None:
        """Do with a job what its result asks for."""
        if job.key in self._forgotten:
            await self._offload(partial(_remove, job.folder))
        elif "error" not in result:
            job.on_done(await self._keep(job, result))
        elif result.get("passing"):
            self._refuse(job, str(result["error"]))
        else:
            self._retry(job, str(result["error"]))

    def _spoilt(self, job: FinishJob, fault: BaseException) -> None:
        """What a job's files, the blob store or the one who waits brought."""
        passing = fault.passing if isinstance(fault, BlobFailed) else isinstance(fault, OSError) and passes(fault)
        words = str(fault) if isinstance(fault, BlobFailed | OSError) else f"{type(fault).__name__} {place_of(fault)}"
        if passing:
            self._refuse(job, words)
        else:
            self._retry(job, words)

    async def _make(self, jobs: list[FinishJob]) -> dict[Path, dict[str, Any]]:
        """Have the stereo files made; each folder's result, if the program lived to tell it."""
        if not jobs:
            return {}
        made: dict[Path, dict[str, Any]] = {}
        folders: dict[str, Path] = {}  # by the job's file
        for job in jobs:
            try:
                folders[str(await self._offload(partial(_write_job, job)))] = job.folder
            except OSError as error:
                made[job.folder] = {"error": error.strerror, "passing": passes(error)}
        results = make_here(folders) if self._inline else await make_apart(folders, JOB_TIMEOUT_S * BATCH_MAX_JOBS)
        return made | {folders[result["job"]]: result for result in results}

    async def _keep(self, job: FinishJob, result: dict[str, Any]) -> RecordingInfo:
        """Bring what the folder holds into the blob store, and remove the folder."""
        names = await self._offload(partial(_names, job))
        sizes = {}
        for name in names:
            size = await self._blobs.put_file(job.key.tenant, job.key.session_id, name, job.folder / name)
            if type(size) is not int:
                raise TypeError("a blob store gives a size in bytes")
            sizes[name] = size
        await self._offload(partial(_remove, job.folder))
        return RecordingInfo(
            state=RecordingState.READY if names else RecordingState.OFF,
            complete=job.complete and bool(result.get("complete", True)),
            stereo=STEREO_FILE if STEREO_FILE in sizes else None,
            rate_hz=result.get("rate_hz"),
            duration_ms=result.get("duration_ms"),
            payload_bytes=sizes.get(STEREO_FILE),
            events=EVENTS_FILE if EVENTS_FILE in sizes else None,
            tracks=INDEX_FILE if INDEX_FILE in sizes else None,
        )

    def _refuse(self, job: FinishJob, reason: str) -> None:
        """The disk or the blob store is not well: the job waits until it is."""
        if not self._alarmed:
            self._alarmed = True
            log.error("recordings cannot be made now; they wait", extra={"reason": reason})
        self._refused.append(job)

    def _tell(self) -> None:
        if self._alarmed and not self._refused:
            self._alarmed = False
            log.warning("the recordings that had to wait are made")

    def _retry(self, job: FinishJob, reason: str) -> None:
        if job.attempts + 1 < ATTEMPTS:
            self._jobs.append(replace(job, attempts=job.attempts + 1))
            return
        self.failed += 1
        log.error("a recording could not be made", extra={"session_id": job.key.session_id, "reason": reason})
        with Boundary(partial(_log_fault, "nobody could be told that a recording failed")):
            job.on_done(RecordingInfo(RecordingState.FAILED, complete=False))

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _wanted(job: FinishJob) -> list[tuple[str, bool]]:
    tracks = [(name, job.keep_tracks) for name in (CALLER_FILE, AGENT_FILE, INDEX_FILE)]
    return [(STEREO_FILE, job.stereo), (EVENTS_FILE, True), *tracks]


def _names(job: FinishJob) -> list[str]:
    """What is kept of what a job's folder holds. Raises OSError."""
    there = {path.name for path in job.folder.iterdir()}
    return [name for name, wanted in _wanted(job) if wanted and name in there]


def _write_job(job: FinishJob) -> Path:
    """Write a job's file into its folder. Raises OSError."""
    path = job.folder / JOB_FILE
    played = [[span.item_id, span.begin_ms, span.heard_ms] for span in job.played]
    out = job.folder / STEREO_FILE
    path.write_bytes(
        orjson.dumps({"folder": str(job.folder), "out": str(out), "format": FILE_FORMAT, "played": played})
    )
    return path


def _log_fault(message: str, fault: BaseException) -> None:
    log.error(message, extra={"kind": type(innermost(fault)).__name__, "place": place_of(fault)})
