"""The raw tracks in a call's folder, and their index, which maps the bytes to samples and to the time of arrival.

`caller.raw` and `agent.raw` hold the payload bytes as received. `tracks.jsonl` has a header line and then one line for
each run: a stretch of one track without a gap, in one format, and for the agent of one item. A run ends where the next
run of its track begins, the last run at the end of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from audio.formats import AudioFormat, parse_format
from sessions.errors import VoiceError

CALLER = "caller"
AGENT = "agent"
CALLER_FILE = "caller.raw"
AGENT_FILE = "agent.raw"
INDEX_FILE = "tracks.jsonl"
SCHEMA = 1
LONGEST_MS = 48 * 3_600_000  # of a call: a corrupted number must not make a recording of a thousand years


class BadSpool(VoiceError):
    """A file in a call's folder does not have the expected form; the message names it."""


@dataclass(frozen=True, slots=True)
class TracksHeader:
    """Says which session the tracks belong to, and what is to be made of them."""

    tenant: str
    session_id: str
    stereo: bool  # a stereo recording is wanted
    keep_tracks: bool  # the raw tracks are kept, for a replay


@dataclass(frozen=True, slots=True)
class Run:
    """Says where a stretch of sound begins: in the track's file, on its stream's timeline, and in the call's time."""

    track: str  # CALLER or AGENT
    item_id: str | None  # the agent's item; None for the caller
    offset_bytes: int
    start_sample: int  # on the timeline of the caller's stream, or of the item
    at_ms: int  # the arrival, since the call's start
    format: AudioFormat


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run with its length."""

    run: Run
    payload_bytes: int

    @property
    def samples(self) -> int:
        """How many samples it holds."""
        return self.run.format.samples_in(self.payload_bytes)


def header_line(header: TracksHeader) -> bytes:
    """The first line of an index."""
    return (
        orjson.dumps(
            {
                "schema": SCHEMA,
                "tenant": header.tenant,
                "session_id": header.session_id,
                "stereo": header.stereo,
                "keep_tracks": header.keep_tracks,
            }
        )
        + b"\n"
    )


def run_line(run: Run) -> bytes:
    """A further line of an index."""
    return (
        orjson.dumps(
            {
                "track": run.track,
                "item_id": run.item_id,
                "offset_bytes": run.offset_bytes,
                "start_sample": run.start_sample,
                "at_ms": run.at_ms,
                "format": str(run.format),
            }
        )
        + b"\n"
    )


def read_index(path: Path) -> tuple[TracksHeader, list[Run]]:
    """Read an index; an incomplete last line, as after a crash, is skipped. Raises BadSpool, OSError."""
    lines = path.read_bytes().split(b"\n")
    try:
        header = _header(orjson.loads(lines[0]))
        runs: list[Run] = []
        for number, line in enumerate(lines[1:], start=2):
            if line:
                try:
                    runs.append(_run(orjson.loads(line)))
                except orjson.JSONDecodeError:
                    if number != len(lines):
                        raise
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadSpool(f"{path} is not an index of a call's tracks: {error}") from error
    return header, runs


def stretches(runs: Sequence[Run], track: str, file_bytes: int) -> list[Stretch]:
    """One track's runs with their lengths, limited to the `file_bytes` that the file really has."""
    of_track = [run for run in runs if run.track == track]
    if not of_track:
        return []
    ends = [run.offset_bytes for run in of_track[1:]] + [file_bytes]
    found = [Stretch(run, min(end, file_bytes) - run.offset_bytes) for run, end in zip(of_track, ends, strict=True)]
    return [stretch for stretch in found if stretch.samples > 0]


def _header(parsed: dict[str, Any]) -> TracksHeader:
    if parsed["schema"] != SCHEMA:
        raise ValueError(f"schema {parsed['schema']} is not known")
    return TracksHeader(
        tenant=str(parsed["tenant"]),
        session_id=str(parsed["session_id"]),
        stereo=bool(parsed["stereo"]),
        keep_tracks=bool(parsed["keep_tracks"]),
    )


def _run(parsed: dict[str, Any]) -> Run:
    run = Run(
        track=parsed["track"],
        item_id=parsed["item_id"],
        offset_bytes=int(parsed["offset_bytes"]),
        start_sample=int(parsed["start_sample"]),
        at_ms=int(parsed["at_ms"]),
        format=parse_format(parsed["format"]),
    )
    if run.track not in (CALLER, AGENT) or not isinstance(run.item_id, str | None):
        raise ValueError(f"a run has the track {run.track!r} and the item {run.item_id!r}")
    if min(run.offset_bytes, run.start_sample) < 0 or abs(run.at_ms) > LONGEST_MS:
        raise ValueError("a run lies outside any call")
    return run
