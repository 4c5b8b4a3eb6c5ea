"""The queue of finished calls whose recordings are to be made: one program at a time, beside the serving core.

What a call leaves in its folder goes into the blob store by name, and the folder is removed. A folder whose recording
fails twice stays where it is, for the next start to try again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from gateway.recording.blobs import BlobFailed, Blobs
from gateway.recording.eventlog import EVENTS_FILE
from gateway.recording.making import make_apart, make_here
from gateway.recording.tracks import AGENT_FILE, CALLER_FILE, INDEX_FILE
from sessions.documents import RecordingInfo, RecordingState
from sessions.record import PlayedSpan
from sessions.stores.contract import SessionKey

BATCH_MAX_JOBS = 16  # for one program: its start costs more than a short call's recording
ATTEMPTS = 2
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
        self._wake = asyncio.Event()
        self._forgotten: set[SessionKey] = set()
        self._busy = asyncio.Lock()  # while a batch is in work
        self._closing = False
        self.failed = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for their recording."""
        return len(self._jobs)

    def submit(self, job: FinishJob) -> None:
        """Queue a call. Its folder must be complete on the disk."""
        self._jobs.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Make recordings until closed; one long task of the application's group."""
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            await self.work_off()

    async def work_off(self) -> None:
        """Return once nothing waits any more."""
        async with self._busy:
            while self._jobs and not self._closing:
                await self._batch([self._jobs.popleft() for _ in range(min(len(self._jobs), BATCH_MAX_JOBS))])

    async def forget(self, key: SessionKey) -> None:
        """Keep nothing of a session that is being deleted; returns when its folder is gone or was never here."""
        self._forgotten.add(key)
        async with self._busy:  # a batch in work sees the mark when it is done
            for job in [job for job in self._jobs if job.key == key]:
                self._jobs.remove(job)
                await self._offload(partial(_remove, job.folder))
        self._forgotten.discard(key)

    def close(self) -> None:
        """End `run` after the batch in work; what waits is found in its folders by the next start."""
        self._closing = True
        self._wake.set()

    async def _batch(self, jobs: list[FinishJob]) -> None:
        made = await self._make([job for job in jobs if job.stereo])
        for job in jobs:
            result = made.get(job.folder) if job.stereo else {}
            if job.key in self._forgotten:
                await self._offload(partial(_remove, job.folder))
            elif result is None or "error" in result:
                self._retry(job, "the program died" if result is None else str(result["error"]))
            else:
                try:
                    info = await self._keep(job, result)
                except BlobFailed as error:
                    self._retry(job, str(error))
                else:
                    job.on_done(info)

    async def _make(self, jobs: list[FinishJob]) -> dict[Path, dict[str, Any]]:
        """Have the stereo files made; each folder's result, if the program lived to tell it."""
        if not jobs:
            return {}
        paths = await self._offload(lambda: [_write_job(job) for job in jobs])
        folders = {str(path): job.folder for path, job in zip(paths, jobs, strict=True) if path is not None}
        results = make_here(folders) if self._inline else await make_apart(folders, JOB_TIMEOUT_S * BATCH_MAX_JOBS)
        return {folders[result["job"]]: result for result in results}

    async def _keep(self, job: FinishJob, result: dict[str, Any]) -> RecordingInfo:
        """Bring what the folder holds into the blob store, and remove the folder."""
        names = [name for name, wanted in _wanted(job) if wanted and (job.folder / name).is_file()]
        sizes = {}
        for name in names:
            sizes[name] = await self._blobs.put_file(job.key.tenant, job.key.session_id, name, job.folder / name)
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

    def _retry(self, job: FinishJob, reason: str) -> None:
        if job.attempts + 1 < ATTEMPTS:
            self._jobs.append(replace(job, attempts=job.attempts + 1))
            return
        self.failed += 1
        log.error("a recording could not be made", extra={"session_id": job.key.session_id, "reason": reason})
        job.on_done(RecordingInfo(RecordingState.FAILED, complete=False))

    async def _offload(self, work: Callable[[], T]) -> T:
        return work() if self._inline else await asyncio.to_thread(work)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _wanted(job: FinishJob) -> list[tuple[str, bool]]:
    tracks = [(name, job.keep_tracks) for name in (CALLER_FILE, AGENT_FILE, INDEX_FILE)]
    return [(STEREO_FILE, job.stereo), (EVENTS_FILE, True), *tracks]


def _write_job(job: FinishJob) -> Path | None:
    """Write a job's file into its folder; None where the disk refuses."""
    path = job.folder / JOB_FILE
    played = [[span.item_id, span.begin_ms, span.heard_ms] for span in job.played]
    out = job.folder / STEREO_FILE
    try:
        path.write_bytes(
            orjson.dumps({"folder": str(job.folder), "out": str(out), "format": FILE_FORMAT, "played": played})
        )
    except OSError:
        return None
    return path
