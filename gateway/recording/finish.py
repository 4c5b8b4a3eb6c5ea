"""Makes the stereo recording of a finished call as it was heard: the caller left, the agent right.

Runs as a separate program at low priority, so that it does not disturb running calls:
`python -m gateway.recording.finish JOB.json...` prints one JSON line per job, `{job, rate_hz, duration_ms, complete}`
or `{job, error, passing}` (`passing`: the same job may succeed later). A job file holds
`{folder, out, format, played: [[item_id, begin_ms, heard_ms]...]}`; format is flac or wav.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import soundfile

from audio.formats import AudioFormat, Coding
from audio.g711 import decode
from audio.mixing import Placed, RunReader, mix_stereo
from audio.resampling import resample_in_place
from gateway.blobs.disk import passes
from gateway.guard import Boundary
from gateway.recording.placing import Placement, common_rate_hz, place_agent, place_caller
from gateway.recording.tracks import (
    AGENT,
    AGENT_FILE,
    CALLER,
    CALLER_FILE,
    INDEX_FILE,
    read_index,
    stretches,
)
from sessions.record import PlayedSpan

NICENESS = 10
PIECE_SAMPLES = 24_000
FORMATS = ("flac", "wav")


@dataclass(frozen=True, slots=True)
class Finished:
    """The result. `complete` is False if sound is missing that the index or the played spans mention."""

    rate_hz: int
    duration_ms: int
    complete: bool


class Track:
    """Reads one raw track, at any offset."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY) if path.exists() else None
        self.file_bytes = 0 if self._descriptor is None else os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def pcm16(self, ranges: Iterable[tuple[int, int]], format: AudioFormat) -> Iterator[bytes]:
        """Yield the sound of these byte ranges as PCM16, in pieces of at most PIECE_SAMPLES."""
        assert self._descriptor is not None
        piece_bytes = PIECE_SAMPLES * format.sample_bytes
        for offset, length in ranges:
            whole = length - length % format.sample_bytes
            for start in range(0, whole, piece_bytes):
                payload = os.pread(self._descriptor, min(piece_bytes, whole - start), offset + start)
                yield payload if format.coding is Coding.PCM16 else decode(payload, format.coding)

    def placed(self, placement: Placement, rate_hz: int) -> Placed:
        """A placement together with a reader of its sound, resampled to `rate_hz`."""
        pieces = self.pcm16(placement.ranges, placement.format)
        reader = RunReader(resample_in_place(pieces, placement.format.rate_hz, rate_hz))
        return Placed(reader, placement.start_sample, placement.samples)


class SoundOut(io.FileIO):
    """The file that soundfile writes to. It keeps the disk's error, which soundfile does not report."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self.refusal: OSError | None = None

    def write(self, payload: Any) -> int:
        """Write the whole payload; fewer bytes than that mean that the disk refused."""
        rest = memoryview(payload).cast("B")
        written = 0
        try:
            while written < len(rest):
                written += super().write(rest[written:]) or 0
        except OSError as error:
            self.refusal = self.refusal or error
        return written


def finish(folder: Path, out: Path, file_format: str, played: Iterable[PlayedSpan]) -> Finished:
    """Make the recording of a call's folder at `out`; no file if there was no sound. The folder is not changed.

    Holds only some seconds of sound in memory, however long the call was. Raises BadSpool, OSError, ValueError, and
    soundfile's own errors if the file cannot be written for another reason.
    """
    if file_format not in FORMATS:
        raise ValueError(f"{file_format!r} is not a format for a recording; use one of {', '.join(FORMATS)}")
    _, runs = read_index(folder / INDEX_FILE)
    caller, agent = Track(folder / CALLER_FILE), Track(folder / AGENT_FILE)
    try:
        said = stretches(runs, CALLER, caller.file_bytes)
        spoken = stretches(runs, AGENT, agent.file_bytes)
        spans = list(played)
        rate_hz = common_rate_hz([*said, *spoken])
        left = [caller.placed(placement, rate_hz) for placement in place_caller(said, rate_hz)]
        right = [agent.placed(placement, rate_hz) for placement in place_agent(spoken, spans, rate_hz)]
        samples = _write(out, file_format, rate_hz, mix_stereo(left, right, rate_hz))
    finally:
        caller.close()
        agent.close()
    if not samples:
        out.unlink(missing_ok=True)  # FLAC writes its header with the first sample; without it the file is invalid
    complete = all(run.offset_bytes <= (caller if run.track == CALLER else agent).file_bytes for run in runs) and {
        span.item_id for span in spans
    } <= {stretch.run.item_id for stretch in spoken}
    return Finished(rate_hz, samples * 1000 // rate_hz, complete)


def _write(out: Path, file_format: str, rate_hz: int, blocks: Iterable[bytes]) -> int:
    """Write the file and return its number of samples. A file that the disk refuses is removed."""
    out.unlink(missing_ok=True)  # the blob store may hold a link to the file of an earlier attempt
    samples = 0
    target = SoundOut(out)
    try:
        with soundfile.SoundFile(
            target, "w", samplerate=rate_hz, channels=2, subtype="PCM_16", format=file_format.upper()
        ) as file:
            for block in blocks:
                file.buffer_write(block, "int16")
                samples += len(block) // 4
        if target.refusal is not None:  # soundfile does not report a refusal of the last bytes
            raise target.refusal
        target.close()
    except BaseException:
        with suppress(OSError):
            target.close()
        out.unlink(missing_ok=True)  # half a recording would take the space that the whole one needs
        if target.refusal is not None:
            raise target.refusal from None
        raise
    return samples


def run_job(path: Path) -> dict[str, Any]:
    """Do one job and return its result line; never raises."""
    faults: list[BaseException] = []
    with Boundary(faults.append):
        job = orjson.loads(path.read_bytes())
        played = [PlayedSpan(item_id, begin_ms, heard_ms) for item_id, begin_ms, heard_ms in job["played"]]
        done = finish(Path(job["folder"]), Path(job["out"]), job["format"], played)
        return {"job": str(path), "rate_hz": done.rate_hz, "duration_ms": done.duration_ms, "complete": done.complete}
    passing = isinstance(faults[0], OSError) and passes(faults[0])
    return {"job": str(path), "error": f"{type(faults[0]).__name__}: {faults[0]}", "passing": passing}


def main(paths: list[str]) -> int:
    """Do the jobs one after another. Returns 0 if all were tried, 1 if nobody reads the output, 2 without any job."""
    if not paths:
        sys.stderr.write("usage: python -m gateway.recording.finish JOB.json...\n")
        return 2
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    for path in paths:
        line = orjson.dumps(run_job(Path(path))) + b"\n"
        try:
            os.write(sys.stdout.fileno(), line)
        except BrokenPipeError:
            return 1  # the server is gone; the next one does all jobs again
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
