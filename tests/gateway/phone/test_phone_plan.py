"""What a caller will say, read from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio.formats import PCM16_24K, PCMU_8K
from audio.g711 import silence
from audio.wav import write_wav
from gateway.phone.plan import PlanError, frames_of, read_plan


def speak(words: str) -> bytes:
    """One sample a letter."""
    return b"\x01\x00" * len(words)


def test_recordings_come_first_and_then_the_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [bytes(4800)])
    plan = read_plan([str(path), "text:hello"], ["goodbye"], [], speak)
    assert [turn.label for turn in plan] == ["a.wav", "“hello”", "“goodbye”"]
    assert plan[0].duration_ms == 100


def test_a_telephone_recording_becomes_24_khz(tmp_path: Path) -> None:
    path = tmp_path / "phone.wav"
    write_wav(path, PCMU_8K, [silence(PCMU_8K, 800)])
    [turn] = read_plan([str(path)], [], [], speak)
    assert len(turn.pcm) == 2400 * 2


def test_a_barge_in_names_its_turn() -> None:
    plan = read_plan([], ["one", "two"], ["2:1200"], speak)
    assert [turn.barge_in_ms for turn in plan] == [None, 1200]


@pytest.mark.parametrize("entry", ["2", "x:5", "3:100", "0:1", "1:-5", "1:" + "9" * 5000, "٢:١"])
def test_a_barge_in_that_cannot_be_is_refused(entry: str) -> None:
    with pytest.raises(PlanError, match="TURN:MS"):
        read_plan([], ["one", "two"], [entry], speak)


def test_nothing_to_say_and_files_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing to say"):
        read_plan([], [], [], speak)
    with pytest.raises(PlanError, match=r"nowhere\.wav"):
        read_plan([str(tmp_path / "nowhere.wav")], [], [], speak)
    (tmp_path / "odd.wav").write_bytes(b"not a wav file at all")
    with pytest.raises(PlanError, match=r"odd\.wav"):
        read_plan([str(tmp_path / "odd.wav")], [], [], speak)
    with pytest.raises(PlanError, match="no words"):
        read_plan(["text:  "], [], [], speak)


def test_frames_are_whole_and_the_last_is_filled_up() -> None:
    frames = frames_of(b"\x01\x00" * 500, 20)
    assert [frame.samples for frame in frames] == [480, 480]
    assert frames[1].payload[40:] == bytes(920)
    assert frames[1].start_sample == 480
