"""The stereo recording, made from real spools and read back: each side where it sounded, cut to what was heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import soundfile
from numpy.typing import NDArray

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import encode
from gateway.recording.finish import finish, run_job
from gateway.recording.sink import Sink
from gateway.recording.spool import CallSpool
from gateway.recording.tracks import BadSpool, TracksHeader
from gateway.recording.writer import SpoolWriter
from sessions.record import PlayedSpan


def tone(hz: int, ms: int, format: AudioFormat) -> bytes:
    at = np.arange(format.rate_hz * ms // 1000) / format.rate_hz
    pcm16 = (12_000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()
    return pcm16 if format.coding is Coding.PCM16 else encode(pcm16, format.coding)


def frames(sound: bytes, format: AudioFormat) -> list[AudioFrame]:
    step = format.bytes_for_ms(20)
    return [AudioFrame(sound[at : at + step], format, at // format.sample_bytes) for at in range(0, len(sound), step)]


def spool_of(folder: Path) -> CallSpool:
    header = TracksHeader("default", "s1", stereo=True, keep_tracks=False)
    return CallSpool(SpoolWriter(inline=True), Sink(folder), header, started_ms=0)


def a_call(folder: Path) -> list[PlayedSpan]:
    """The caller sounds from 0 to 1000 ms, the agent from 1200 ms on; of its 2000 ms, 700 ms were heard."""
    spool = spool_of(folder)
    for number, frame in enumerate(frames(tone(440, 1000, PCMU_8K), PCMU_8K)):
        spool.caller(frame, number * 20)
    for frame in frames(tone(1000, 2000, PCM16_24K), PCM16_24K):
        spool.agent(frame, "item_a", 1190)
    spool.close(2000)
    return [PlayedSpan("item_a", 1200, 700)]


def level(sound: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(sound**2)))


@pytest.mark.parametrize("file_format", ["flac", "wav"])
def test_each_side_is_placed_where_it_sounded_and_cut_to_what_was_heard(tmp_path: Path, file_format: str) -> None:
    played = a_call(tmp_path / "call")
    out = tmp_path / "out"
    done = finish(tmp_path / "call", out, file_format, played)
    assert (done.rate_hz, done.duration_ms, done.complete) == (24_000, 1900, True)
    sound, rate_hz = soundfile.read(out)
    assert rate_hz == 24_000
    assert sound.shape == (45_600, 2)
    left, right = sound[:, 0], sound[:, 1]
    ms = 24
    assert level(left[20 * ms : 980 * ms]) == pytest.approx(12_000 / 32_768 / 2**0.5, rel=0.03)
    assert level(left[1010 * ms :]) < 1e-3
    assert level(right[: 1199 * ms]) < 1e-3
    assert level(right[1210 * ms : 1890 * ms]) == pytest.approx(12_000 / 32_768 / 2**0.5, rel=0.01)
    expected = np.frombuffer(tone(1000, 700, PCM16_24K), dtype="<i2") / 32_768
    assert np.array_equal(right[1200 * ms :], expected)
    spectrum = np.abs(np.fft.rfft(left[: 1000 * ms]))
    assert int(np.argmax(spectrum)) == 440


def test_consecutive_runs_of_one_stream_are_joined_without_a_click(tmp_path: Path) -> None:
    spool = spool_of(tmp_path / "call")
    pieces = frames(tone(440, 1000, PCMU_8K), PCMU_8K)
    for number, frame in enumerate(pieces):
        spool.caller(frame, number * 20 if number < 20 else max(number * 20, 700))  # a stall, then a burst
    for frame in frames(tone(1000, 100, PCM16_24K), PCM16_24K):
        spool.agent(frame, "item_a", 0)
    spool.close(2000)
    finish(tmp_path / "call", tmp_path / "out", "wav", [])
    sound, _ = soundfile.read(tmp_path / "out")
    left = sound[:, 0]
    assert len(left) == 24_000
    at = np.arange(24_000) / 24_000
    expected = 12_000 / 32_768 * np.sin(2 * np.pi * 440 * at)
    assert np.max(np.abs(left - expected)[200:-200]) < 0.02


def test_a_call_without_sound_has_no_file(tmp_path: Path) -> None:
    spool_of(tmp_path / "call").close(0)
    done = finish(tmp_path / "call", tmp_path / "out", "flac", [])
    assert (done.duration_ms, done.complete) == (0, True)
    assert not (tmp_path / "out").exists()


def test_a_spool_that_lacks_sound_makes_an_incomplete_recording(tmp_path: Path) -> None:
    played = a_call(tmp_path / "call")
    agent_file = tmp_path / "call" / "agent.raw"
    agent_file.write_bytes(agent_file.read_bytes()[:9601])
    (tmp_path / "call" / "caller.raw").unlink()
    done = finish(tmp_path / "call", tmp_path / "out", "wav", played)
    assert done.duration_ms == 1400
    (tmp_path / "call" / "agent.raw").unlink()
    assert not finish(tmp_path / "call", tmp_path / "out", "wav", played).complete


def test_a_job_returns_its_result_and_a_bad_job_returns_an_error(tmp_path: Path) -> None:
    played = a_call(tmp_path / "call")
    job = {"folder": str(tmp_path / "call"), "out": str(tmp_path / "out"), "format": "flac"}
    spans = [[span.item_id, span.begin_ms, span.heard_ms] for span in played]
    path = tmp_path / "job.json"

    def run(**change: object) -> dict[str, object]:
        path.write_bytes(orjson.dumps({**job, "played": spans, **change}))
        return run_job(path)

    assert run() == {"job": str(path), "rate_hz": 24_000, "duration_ms": 1900, "complete": True}
    for change in (
        {"format": "mp3"},
        {"folder": "/nowhere"},
        {"out": str(tmp_path)},
        {"played": [1]},
        {"played": None},
    ):
        assert "error" in run(**change)
    path.write_bytes(b"{")
    assert "error" in run_job(path)
    assert "error" in run_job(tmp_path / "no job")


def test_a_file_that_is_not_an_index_raises(tmp_path: Path) -> None:
    (tmp_path / "tracks.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(BadSpool):
        finish(tmp_path, tmp_path / "out", "flac", [])
