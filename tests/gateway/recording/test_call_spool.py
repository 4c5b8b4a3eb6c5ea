"""The spool of a running call: bytes as received, and an index that maps them to samples and times of arrival."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame
from gateway.recording.sink import Part, Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import (
    AGENT,
    CALLER,
    INDEX_FILE,
    BadSpool,
    Run,
    TracksHeader,
    read_index,
    stretches,
)
from gateway.recording.writer import SpoolWriter

HEADER = TracksHeader("default", "s1", stereo=True, keep_tracks=False)
START_MS = 50_000


def frame(start_sample: int, samples: int = 160, format: AudioFormat = PCMU_8K, fill: int = 1) -> AudioFrame:
    return AudioFrame(bytes([fill]) * samples * format.sample_bytes, format, start_sample)


def spool_in(folder: Path, writer: SpoolWriter | None = None) -> CallSpool:
    return CallSpool(writer or SpoolWriter(inline=True), Sink(folder), HEADER, started_ms=START_MS)


def index_of(folder: Path) -> list[Run]:
    header, runs = read_index(folder / INDEX_FILE)
    assert header == HEADER
    return runs


class SlowDisk(SpoolWriter):
    """Refuses blocks while `full`."""

    def __init__(self) -> None:
        super().__init__(inline=True)
        self.full = False

    def append(self, sink: Sink, parts: list[Part]) -> bool:  # type: ignore[override]
        return not self.full and super().append(sink, parts)


def test_a_steady_stream_is_one_run(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(200):
        jitter_ms = 15 if number % 3 else 0
        spool.caller(frame(number * 160, fill=number), START_MS + 40 + number * 20 + jitter_ms)
    spool.close(START_MS + 4100)
    assert index_of(tmp_path) == [Run(CALLER, None, 0, 0, 40, PCMU_8K)]
    assert (tmp_path / "caller.raw").read_bytes() == b"".join(bytes([n]) * 160 for n in range(200))
    assert spool.complete
    assert not (tmp_path / "agent.raw").exists()


def test_sound_that_arrives_late_begins_a_new_run_at_its_time_of_arrival(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.caller(frame(0), START_MS)
    spool.caller(frame(160), START_MS + 20 + 60)
    spool.caller(frame(320), START_MS + 40 + 61)
    spool.close(START_MS + 200)
    assert [(run.start_sample, run.at_ms, run.offset_bytes) for run in index_of(tmp_path)] == [
        (0, 0, 0),
        (320, 101, 320),
    ]


def test_sound_that_arrives_too_early_begins_a_new_run(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(5):
        spool.caller(frame(number * 160), START_MS)
    spool.close(START_MS + 200)
    assert [run.start_sample for run in index_of(tmp_path)] == [0, 640]


def test_a_gap_in_the_samples_or_another_format_begins_a_new_run(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.caller(frame(0), START_MS)
    spool.caller(frame(320), START_MS + 40)
    spool.caller(frame(480, format=PCM16_24K), START_MS + 60)
    spool.close(START_MS + 200)
    runs = index_of(tmp_path)
    assert [(run.start_sample, str(run.format)) for run in runs] == [
        (0, "pcmu/8000"),
        (320, "pcmu/8000"),
        (480, "pcm16/24000"),
    ]
    size = (tmp_path / "caller.raw").stat().st_size
    assert [stretch.samples for stretch in stretches(runs, CALLER, size)] == [160, 160, 160]


def test_each_item_of_the_agent_is_one_run_however_fast_it_arrives(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(50):
        spool.agent(frame(number * 480, 480, PCM16_24K), "item_a", START_MS + 100 + number)
    spool.agent(frame(0, 480, PCM16_24K), "item_b", START_MS + 151)
    spool.close(START_MS + 200)
    assert index_of(tmp_path) == [
        Run(AGENT, "item_a", 0, 0, 100, PCM16_24K),
        Run(AGENT, "item_b", 48_000, 0, 151, PCM16_24K),
    ]


def test_sound_is_written_every_two_seconds_and_remains_after_a_crash(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(110):
        spool.caller(frame(number * 160), START_MS + number * 20)
    assert (tmp_path / "caller.raw").stat().st_size == 101 * 160
    assert len(index_of(tmp_path)) == 1


def test_the_waiting_sound_of_a_silent_call_is_written_by_tick(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.agent(frame(0), "item_a", START_MS)
    spool.tick(START_MS + 1999)
    assert not tmp_path.joinpath("agent.raw").exists()
    spool.tick(START_MS + 2000)
    assert tmp_path.joinpath("agent.raw").stat().st_size == 160


def test_a_refused_block_is_a_gap_and_the_recording_is_incomplete(tmp_path: Path) -> None:
    disk = SlowDisk()
    spool = spool_in(tmp_path, disk)
    spool.caller(frame(0, fill=1), START_MS)
    spool.tick(START_MS + 2000)
    disk.full = True
    spool.caller(frame(160, fill=2), START_MS + 2000)
    spool.agent(frame(0, fill=3), "item_a", START_MS + 2000)
    spool.tick(START_MS + 4000)
    assert not spool.complete
    disk.full = False
    spool.caller(frame(320, fill=4), START_MS + 4000)
    spool.agent(frame(160, fill=5), "item_a", START_MS + 4000)
    spool.close(START_MS + 6000)
    assert [(run.track, run.start_sample, run.offset_bytes) for run in index_of(tmp_path)] == [
        (CALLER, 0, 0),
        (CALLER, 320, 160),
        (AGENT, 160, 0),
    ]
    assert (tmp_path / "caller.raw").read_bytes() == b"\1" * 160 + b"\4" * 160
    assert (tmp_path / "agent.raw").read_bytes() == b"\5" * 160


def test_the_header_is_written_though_the_first_block_was_refused(tmp_path: Path) -> None:
    disk = SlowDisk()
    disk.full = True
    spool = spool_in(tmp_path, disk)
    spool.caller(frame(0), START_MS)
    spool.tick(START_MS + 2000)
    disk.full = False
    spool.caller(frame(160), START_MS + 2000)
    spool.close(START_MS + 4000)
    assert [run.start_sample for run in index_of(tmp_path)] == [160]


def test_a_dead_disk_makes_the_recording_incomplete_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = spool_in(tmp_path / "file" / "call")
    for number in range(300):
        spool.caller(frame(number * 160), START_MS + number * 20)
    spool.close(START_MS + 6000)
    assert not spool.complete


def test_sound_after_the_close_is_dropped(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.caller(frame(0), START_MS)
    spool.close(START_MS)
    spool.caller(frame(160), START_MS + 5000)
    spool.close(START_MS + 5000)
    assert (tmp_path / "caller.raw").stat().st_size == 160
    assert spool.complete


def test_an_incomplete_last_line_of_an_index_is_skipped(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.caller(frame(0), START_MS)
    spool.agent(frame(0), "item_a", START_MS)
    spool.close(START_MS)
    path = tmp_path / INDEX_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [run.track for run in index_of(tmp_path)] == [CALLER]
    path.write_bytes(whole.replace(b'{"track"', b'{"tr', 1))
    with pytest.raises(BadSpool, match=r"tracks\.jsonl"):
        read_index(path)
    for broken in (b"", b"[]\n", b'{"schema": 9}\n'):
        path.write_bytes(broken)
        with pytest.raises(BadSpool):
            read_index(path)


def test_a_track_that_is_shorter_than_its_index_has_shorter_stretches() -> None:
    runs = [Run(CALLER, None, offset, 0, 0, PCMU_8K) for offset in (0, 100, 200)]
    found = stretches(runs, CALLER, 150)
    assert [(stretch.run.offset_bytes, stretch.samples) for stretch in found] == [(0, 100), (100, 50)]
    assert stretches([], CALLER, 150) == []
