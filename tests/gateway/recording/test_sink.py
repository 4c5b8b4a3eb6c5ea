"""A block is written completely or not at all, and the block after a refused one is tried again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audio.formats import PCMU_8K, AudioFrame
from gateway.recording.eventlog import EVENTS_FILE, EventLog, EventLogHeader, LoggedMessage, Source, read_event_log
from gateway.recording.finish import finish
from gateway.recording.sink import OpenFiles, Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import AGENT, AGENT_FILE, CALLER, CALLER_FILE, INDEX_FILE, Run, TracksHeader, read_index
from gateway.recording.writer import SpoolWriter
from sessions.record import PlayedSpan

FULL = Path("/dev/full")  # every write fails with ENOSPC
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
HEADER = TracksHeader("default", "s1", stereo=True, keep_tracks=False)


class KeepingWriter(SpoolWriter):
    """Writes at once, and keeps files open like the thread."""

    def __init__(self) -> None:
        super().__init__(inline=True)
        self.files = OpenFiles(10)

    def append(self, sink, parts) -> bool:  # type: ignore[no-untyped-def]
        sink.write(parts, self.files)
        return True


def frame(number: int) -> AudioFrame:
    return AudioFrame(b"\x10" * 800, PCMU_8K, number * 800)


def talk(spool: CallSpool, begin_s: int, end_s: int) -> None:
    """Add sound of both sides, in frames of 100 ms."""
    for number in range(begin_s * 10, end_s * 10):
        spool.caller(frame(number), number * 100)
        spool.agent(frame(number), "item_a", number * 100)


def refuse(folder: Path, name: str) -> None:
    """Make the disk look full for this file of the folder."""
    (folder / name).rename(folder / f"{name}.real")
    (folder / name).symlink_to(FULL)


def take_again(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / f"{name}.real").rename(folder / name)


@needs_full
@pytest.mark.parametrize("name", [CALLER_FILE, AGENT_FILE])
def test_while_the_disk_is_full_the_recording_has_a_gap(tmp_path: Path, name: str) -> None:
    sink = Sink(tmp_path)
    spool = CallSpool(SpoolWriter(inline=True), sink, HEADER, started_ms=0)
    talk(spool, 0, 5)  # blocks at 2 and 4 s
    refuse(tmp_path, name)
    talk(spool, 5, 9)  # at 6 and 8 s
    take_again(tmp_path, name)
    talk(spool, 9, 20)
    spool.close(20_000)
    assert sink.failed is not None
    assert not spool.complete
    sizes = {track: (tmp_path / track).stat().st_size for track in (CALLER_FILE, AGENT_FILE)}
    assert sizes == {CALLER_FILE: 16 * 8000, AGENT_FILE: 16 * 8000}
    _, runs = read_index(tmp_path / INDEX_FILE)
    caller, *after = [run for run in runs if run.track == CALLER]
    assert (caller.start_sample, caller.at_ms, caller.offset_bytes) == (0, 0, 0)
    held = 41 * 800  # the frame that triggers a block is part of it
    assert after[0] == Run(CALLER, None, held, 81 * 800, 8100, PCMU_8K)
    agent = [run for run in runs if run.track == AGENT]
    assert [(run.item_id, run.offset_bytes, run.start_sample) for run in agent] == [
        ("item_a", 0, 0),
        ("item_a", 40 * 800, 80 * 800),
    ]
    made = finish(tmp_path, tmp_path / "out.wav", "wav", [PlayedSpan("item_a", 0, 20_000)])
    assert (made.duration_ms, made.complete) == (20_000, True)
    sound = (tmp_path / "out.wav").read_bytes()[-20 * 8000 * 4 :]
    for second, heard in [(1, True), (3, True), (5, False), (7, False), (10, True), (19, True)]:
        assert any(sound[second * 32_000 : second * 32_000 + 3200]) == heard, second


def test_a_folder_that_cannot_be_made_yet_is_made_later(tmp_path: Path) -> None:
    blocker = tmp_path / "calls"
    blocker.touch()
    sink = Sink(blocker / "s1")
    spool = CallSpool(SpoolWriter(inline=True), sink, HEADER, started_ms=0)
    talk(spool, 0, 5)
    assert (sink.blocks, sink.failed) == (0, "Not a directory")
    blocker.unlink()
    talk(spool, 5, 9)
    spool.close(9000)
    header, runs = read_index(sink.folder / INDEX_FILE)
    assert header == HEADER
    assert [(run.track, run.item_id, run.offset_bytes, run.at_ms) for run in runs] == [
        (AGENT, "item_a", 0, 4000),
        (CALLER, None, 0, 4100),
    ]


@pytest.mark.parametrize("writer", [SpoolWriter(inline=True), KeepingWriter()])
def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path, writer: SpoolWriter) -> None:
    sink = Sink(tmp_path / "calls" / "s1")
    spool = CallSpool(writer, sink, HEADER, started_ms=0)
    talk(spool, 0, 5)
    shutil.rmtree(tmp_path / "calls")
    talk(spool, 5, 9)
    spool.close(9000)
    assert not spool.complete
    header, runs = read_index(sink.folder / INDEX_FILE)
    assert header == HEADER
    assert [(run.track, run.offset_bytes, run.start_sample) for run in runs] == [
        (AGENT, 0, 40 * 800),
        (CALLER, 0, 41 * 800),
    ]
    assert (sink.folder / CALLER_FILE).stat().st_size == 90 * 800 - 41 * 800
    sink.close(OpenFiles(0))


@needs_full
def test_an_event_log_goes_on_after_refused_blocks(tmp_path: Path) -> None:
    about = EventLogHeader("harbour", "1", "s1", {})
    log = EventLog(SpoolWriter(inline=True), Sink(tmp_path), about, with_sound=False, started_ms=0)
    for second in range(0, 20, 2):
        if second == 6:
            refuse(tmp_path, EVENTS_FILE)
        if second == 12:
            take_again(tmp_path, EVENTS_FILE)
        log.message(Source.MODEL, f"words {second}", second * 1000)
    log.close(20_000)
    assert not log.complete
    header, events = read_event_log(tmp_path / EVENTS_FILE)
    assert header == about
    assert [event.text for event in events if isinstance(event, LoggedMessage)] == [
        f"words {second}" for second in (0, 2, 4, 12, 14, 16, 18)
    ]


def test_half_a_block_at_the_end_of_a_file_is_cut_off(tmp_path: Path) -> None:
    sink = Sink(tmp_path)
    sink.write([("a", b"whole")])
    with (tmp_path / "a").open("ab") as torn:
        torn.write(b"ha")
    sink.write([("a", b" again")])
    assert (tmp_path / "a").read_bytes() == b"whole again"


def test_a_block_whose_payload_cannot_be_made_is_lost_alone(tmp_path: Path) -> None:
    sink = Sink(tmp_path)
    sink.write([("a", b"one"), ("b", None)])  # type: ignore[list-item]
    sink.write([("a", b"two")])
    assert (tmp_path / "a").read_bytes() == b"two"
    assert sink.failed == "TypeError"
