"""What the finisher is given for each call that has ended, and which of its files are kept."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateway.recording.eventlog import EVENTS_FILE
from gateway.recording.tracks import AGENT_FILE, CALLER_FILE, INDEX_FILE
from sessions.record import PlayedSpan
from sessions.stores.contract import SessionKey
from sessions.stores.documents import RecordingInfo

JOB_FILE = "job.json"
FILE_FORMAT = "flac"
STEREO_FILE = "recording.flac"

RETRY_S = 2.0  # the pause after a refusal of the disk, and the longest after the first one of the blob store
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class FinishJob:
    """A call that has ended. `on_done` is called once with the result, unless the session was deleted."""

    key: SessionKey
    folder: Path
    stereo: bool
    keep_tracks: bool
    complete: bool  # as far as the call knows
    played: Sequence[PlayedSpan]
    on_done: Callable[[RecordingInfo], None]
    attempts: int = 0


def pause_s(refusals: int) -> float:
    """How long something waits that was refused this many times: twice as long each time, up to a minute.

    A random part keeps what was refused at one moment from coming again at one moment.
    """
    longest_s = min(LONGEST_RETRY_S, RETRY_S * 2.0 ** min(refusals - 1, 10))
    return longest_s * random.uniform(0.5, 1.0)


def names_to_keep(job: FinishJob) -> list[str]:
    """The names of the files in a job's folder that are to be kept. Raises OSError."""
    present = {path.name for path in job.folder.iterdir()}
    tracks = [(name, job.keep_tracks) for name in (CALLER_FILE, AGENT_FILE, INDEX_FILE)]
    wanted = [(STEREO_FILE, job.stereo), (EVENTS_FILE, True), *tracks]
    return [name for name, keep in wanted if keep and name in present]


def write_job(job: FinishJob) -> Path:
    """Write the job file into the folder and return its path. Raises OSError."""
    path = job.folder / JOB_FILE
    played = [[span.item_id, span.begin_ms, span.heard_ms] for span in job.played]
    out = job.folder / STEREO_FILE
    path.write_bytes(
        orjson.dumps({"folder": str(job.folder), "out": str(out), "format": FILE_FORMAT, "played": played})
    )
    return path


def remove_folder(folder: Path) -> None:
    """Remove a folder with all files in it, as far as the disk allows."""
    shutil.rmtree(folder, ignore_errors=True)
