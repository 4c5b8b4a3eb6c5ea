"""What a caller will say, read from the command line."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, Coding
from audio.g711 import silence
from audio.wav import write_wav
from gateway.softphone.plan import PlanError, frames_of, read_plan


def speak(words: str) -> bytes:
    """One sample for each letter."""
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


SPEECH = struct.pack("<2400h", *[(at * 997) % 9000 - 4500 for at in range(2400)])


@pytest.mark.parametrize(("at", "side"), [(0, "1 of 2 (left)"), (1, "2 of 2 (right)")])
def test_the_channel_with_speech_is_played_and_named(tmp_path: Path, at: int, side: str) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [SPEECH if number == at else bytes(4800) for number in (0, 1)])
    [turn] = read_plan([str(path)], [], [], speak)
    assert turn.pcm == SPEECH
    assert turn.remark == f"{path}: has sound only on channel {side}; that channel is used"


def test_channels_that_both_carry_speech_are_mixed_with_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [SPEECH, SPEECH])
    [turn, words] = read_plan([str(path)], ["hello"], [], speak)
    assert turn.remark == f"{path}: has sound on 2 of 2 channels; they are mixed"
    assert words.remark == ""


def test_the_rest_of_a_damaged_recording_is_played_with_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [SPEECH])
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(4) + content[44:])  # as after a recorder that was killed
    [turn] = read_plan([str(path)], [], [], speak)
    assert (turn.pcm, turn.remark) == (SPEECH, "")
    path.write_bytes(content[:-800])
    [turn] = read_plan([str(path)], [], [], speak)
    assert (turn.pcm, "a.wav: is cut short: 4800 bytes" in turn.remark) == (SPEECH[:-800], True)
    write_wav(path, PCM16_24K, [bytes(4800)])
    [turn] = read_plan([str(path)], [], [], speak)
    assert turn.remark == f"{path}: is silent"


@pytest.mark.parametrize(
    ("rate_hz", "sound", "why"),
    [
        (24000, b"", "holds no sound"),
        (24000, b"\1", "the recording is empty"),
        (44056, SPEECH, "needs too many weights; save it with 24000 samples per second"),
        (6000, SPEECH, "cannot resample 6000 Hz"),
        (8000, SPEECH * 2001, "longer than 600 s"),
    ],
)
def test_a_recording_that_cannot_be_played_is_refused_by_name(
    tmp_path: Path, rate_hz: int, sound: bytes, why: str
) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, AudioFormat(Coding.PCM16, rate_hz), [sound if len(sound) > 1 else b""])
    with path.open("ab") as file:
        file.write(sound if len(sound) == 1 else b"")
    with pytest.raises(PlanError, match=rf"a\.wav: .*{why}"):
        read_plan([str(path)], [], [], speak)


def test_a_barge_in_names_its_turn() -> None:
    plan = read_plan([], ["one", "two"], ["2:1200"], speak)
    assert [turn.barge_in_ms for turn in plan] == [None, 1200]
    with pytest.raises(PlanError, match="--barge-in 2:1300: turn 2 already has another moment, 1200"):
        read_plan([], ["one", "two"], ["2:1200", "2:1300"], speak)


@pytest.mark.parametrize("entry", ["2", "x:5", "3:100", "0:1", "1:-5", "1:" + "9" * 5000, "٢:١"])
def test_an_unusable_barge_in_is_refused(entry: str) -> None:
    with pytest.raises(PlanError, match="TURN:MS"):
        read_plan([], ["one", "two"], [entry], speak)


def test_the_first_turn_has_nothing_to_interrupt() -> None:
    with pytest.raises(PlanError, match="--barge-in 1:600: the first turn interrupts no answer"):
        read_plan([], ["one", "two"], ["1:600"], speak)


def test_an_empty_plan_and_unusable_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing to say"):
        read_plan([], [], [], speak)
    with pytest.raises(PlanError, match=r"nowhere\.wav"):
        read_plan([str(tmp_path / "nowhere.wav")], [], [], speak)
    (tmp_path / "odd.wav").write_bytes(b"not a wav file at all")
    with pytest.raises(PlanError, match=r"odd\.wav"):
        read_plan([str(tmp_path / "odd.wav")], [], [], speak)
    with pytest.raises(PlanError, match="no words"):
        read_plan(["text:  "], [], [], speak)


def test_frames_are_whole_and_the_last_one_is_padded() -> None:
    frames = frames_of(b"\x01\x00" * 500, 20)
    assert [frame.samples for frame in frames] == [480, 480]
    assert frames[1].payload[40:] == bytes(920)
    assert frames[1].start_sample == 480
