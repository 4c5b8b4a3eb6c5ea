"""Tests for gateway/models/scripted/file.py."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path

import pytest

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, Coding
from audio.wav import write_wav
from gateway.models.scripted.file import ScriptError, load_script, read_script
from gateway.models.scripted.shape import FAST, Faults, Hears, Recording, ToolCall, Trouble, When
from sessions.usage import TokenUsage

WHOLE = """
model: desk
pace: real
after_ms: 100
ms_per_word: 250
piece_ms: 50
voice_gate: 300
usage: {input_audio: 5}
refuse: [429, null]
turns:
  - when: {text: a, spoken: false, image: true, tool: t, contains: c, out_of_band: true, attempt: 2}
    hears: {text: x, after_ms: 9, parts: true, fails: true}
    say: 42
    audio: a.wav
    after_ms: 7
    pace: fast
    calls: [{name: f, arguments: {day: 2026-11-21, n: [1]}}, {name: g}, {name: h, arguments: "not json"}]
    usage: {output_text: 3}
    repeat: true
    fault:
      drop: 1
      stall: 2
      incomplete: 3
      error: {code: e, message: m, after_ms: 4}
      fail: {}
      duplicate: a
      reorder: b
      lose: c
      late_audio: 5
      done_late_ms: 6
  - hears: hello
otherwise: {say: Pardon}
"""


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", PCMU_8K, [b"\xff" * 80])
    (tmp_path / "desk.yaml").write_text(WHOLE)
    script = load_script(tmp_path / "desk.yaml")
    assert (script.model, script.ms_per_word, script.piece_ms, script.voice_gate) == ("desk", 250, 50, 300)
    assert script.refuse == (429, None)
    full, plain = script.turns
    assert full.when == When("a", False, True, "t", "c", True, 2)
    assert full.hears == Hears("x", 9, True, True)
    assert (full.say, full.after_ms, full.pace, full.repeat) == ("42", 7, FAST, True)
    assert full.recording == Recording(PCMU_8K, b"\xff" * 80)
    assert full.calls == (
        ToolCall("f", '{"day":"2026-11-21","n":[1]}'),
        ToolCall("g", "{}"),
        ToolCall("h", "not json"),
    )
    assert full.usage == TokenUsage(output_text=3)
    failure = Trouble("server_error", "The scripted model had an error.", 0)
    assert full.faults == Faults(1, 2, 3, Trouble("e", "m", 4), failure, "a", "b", "c", 5, 6)
    assert (plain.hears, plain.pace, plain.after_ms, plain.usage.input_audio) == (Hears("hello"), 1.0, 100, 5)
    assert script.otherwise.say == "Pardon"


def test_an_empty_file_is_a_script_named_after_it(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text("")
    assert load_script(tmp_path / "desk.yaml").model == "desk"


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("turns: [", 1, ""),
        ("- a", 1, ""),
        ("modle: x", 1, "modle"),
        ("model: x\npace: slow", 2, "pace"),
        ("model: x\nmodel: y", 2, "model"),
        ("pace: 0", 1, "pace"),
        ("pace: true", 1, "pace"),
        ("model: {a: b}", 1, "model"),
        ("model: true", 1, "model"),
        ("turns: {}", 1, "turns"),
        ("turns:\n  - hears: a\n  - say: [a]", 3, "turns[1].say"),
        ("turns:\n  - say: a\n    sya: b", 3, "turns[0].sya"),
        ("turns:\n  - say: a\n    calls:\n      - arguments: {}", 4, "turns[0].calls[0].name"),
        ("turns:\n  - audio: gone.wav", 2, "turns[0].audio"),
        ("turns:\n  - audio:", 2, "turns[0].audio: names no file"),
        ("turns:\n  - audio: ''", 2, "turns[0].audio: cannot be read"),
        ('turns:\n  - audio: "a\\0b"', 2, "turns[0].audio: cannot be read"),
        ("turns:\n  - after_ms: .nan", 2, "turns[0].after_ms"),
        ("turns:\n  - after_ms: 1.5", 2, "turns[0].after_ms"),
        ("pace: .nan", 1, "pace"),
        ("pace: .inf", 1, "pace"),
        ("pace: 1e999", 1, "pace"),
        ("voice_gate: true", 1, "voice_gate"),
        (f"voice_gate: {'9' * 5000}", 1, "voice_gate"),
        ("usage: {input_text: true}", 1, "usage.input_text"),
        ("turns:\n  - calls:\n      - {name: f, arguments: {a: [1.0e+999]}}", 3, "turns[0].calls[0].arguments: holds"),
        ("turns:\n  - calls:\n      - {name: f, arguments: 1.0e+999}", 3, "turns[0].calls[0].arguments: holds"),
        ("turns:\n  - say: a\n    say: b", 3, "turns[0].say: stands here twice, first in line 2"),
        ("turns: " + "[" * 5000, 1, ""),
        ("turns:\n  - repeat: 1", 2, "turns[0].repeat"),
        ("turns:\n  - after_ms: -1", 2, "turns[0].after_ms"),
        ("turns:\n  - fault: {drop: true}", 2, "turns[0].fault.drop"),
        ("turns:\n  - hears: {word: a}", 2, "turns[0].hears.word"),
        ("refuse: [200]", 1, "refuse[0]"),
        ("usage: {tokens: 1}", 1, "usage.tokens"),
        ("turns: &a\n  - *a", 1, "turns"),
        ("model: !!int x", 1, "model: does not fit its tag !!int"),
        ("model: !!timestamp x", 1, "model: does not fit its tag !!timestamp"),
        ("null", 1, "must be a mapping"),
        ("model: !!bool maybe", 1, "model: does not fit its tag !!bool"),
        ("after_ms: !!int ''", 1, "after_ms: does not fit its tag !!int"),
        ("after_ms: !!float ''", 1, "after_ms: does not fit its tag !!float"),
        ("after_ms: 1" + ":1" * 300_000, 1, "after_ms: must be a whole number"),
        ("model: !!python/object/apply:sys.exit [3]", 1, "model: the tag"),
        ("model: x\nturns: [" + "{say: a}, " * 60_000 + "]", 2, "more than 50000 values"),
        ("turns:\n" + "".join(" " * at + "- \n" for at in range(1, 60)), 34, "turns[0]"),
    ],
)
def test_an_error_names_file_line_and_field(text: str, line: int, field: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as caught:
        read_script(text, "desk.yaml", tmp_path)
    assert str(caught.value).startswith(f"desk.yaml:{line}: {field}")
    assert caught.value.line == line


SPEECH = struct.pack("<2400h", *[(at * 997) % 9000 - 4500 for at in range(2400)])
TURN = "turns:\n  - say: a\n    audio: a.wav\n"


def refused(folder: Path) -> str:
    with pytest.raises(ScriptError) as caught:
        read_script(TURN, "desk.yaml", folder)
    assert str(caught.value).startswith("desk.yaml:3: turns[0].audio: ")
    return str(caught.value)


def test_a_recording_without_sound_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [b""])
    assert "a.wav: holds no sound" in refused(tmp_path)
    path.write_bytes(path.read_bytes() + b"\1")  # half a sample
    assert "a.wav is empty; record it again" in refused(tmp_path)
    for content, why in ((b"", "is empty"), (b"ID3" + bytes(50), "is an MP3 file"), (b"{}", "is not a RIFF WAVE file")):
        path.write_bytes(content)
        assert f"cannot be read: {path}: {why}" in refused(tmp_path)
    write_wav(path, AudioFormat(Coding.PCM16, 44056), [SPEECH])
    assert "save it with 24000 samples a second" in refused(tmp_path)
    path.unlink()
    path.mkdir()
    assert f"cannot be read: {path} is a folder; put a plain file there" in refused(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    assert f"cannot be read: {path} is a named pipe; put a plain file there" in refused(tmp_path)
    path.unlink()
    path.touch()
    os.truncate(path, 2 << 30)
    assert "has 2147483648 bytes; at most 16777216 are read" in refused(tmp_path)


def test_a_recording_whose_recorder_was_killed_is_played(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, PCM16_24K, [SPEECH])
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(4) + content[44:])
    [turn] = read_script(TURN, "desk.yaml", tmp_path).turns
    assert turn.recording == Recording(PCM16_24K, SPEECH)


def test_the_channel_that_speaks_is_played_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for channels in ([SPEECH, bytes(4800)], [bytes(4800), SPEECH]):
        write_wav(tmp_path / "a.wav", PCM16_24K, channels)
        with caplog.at_level(logging.WARNING):
            [turn] = read_script(TURN, "desk.yaml", tmp_path).turns
        assert turn.recording == Recording(PCM16_24K, SPEECH)
    said = [
        (vars(line)["script"], vars(line)["field"], vars(line)["recording"], vars(line)["remark"])
        for line in caplog.records
    ]
    assert said == [
        ("desk.yaml", "turns[0].audio", "a.wav", f"has sound only on channel {side}; that channel is used")
        for side in ("1 of 2 (left)", "2 of 2 (right)")
    ]


def test_words_and_arguments_are_taken_as_they_are_written(tmp_path: Path) -> None:
    text = "turns:\n  - {say: 1_000, hears: 1.50, calls: [{name: 017, arguments: 0}, {name: g, arguments: [é]}]}\n"
    [turn] = read_script(text + '  - say: "a\\ud83d"\n', "desk.yaml", tmp_path).turns[:1]
    assert (turn.say, turn.hears) == ("1_000", Hears("1.50"))
    assert turn.calls == (ToolCall("017", "0"), ToolCall("g", '["é"]'))


def test_half_an_emoji_in_a_script_becomes_a_sign_that_can_be_sent(tmp_path: Path) -> None:
    text = 'turns:\n  - {say: "a\\ud83d", calls: [{name: f, arguments: {x: "\\ud83d"}}]}\n'
    [turn] = read_script(text, "desk.yaml", tmp_path).turns
    assert (turn.say, turn.calls) == ("a\ufffd", (ToolCall("f", '{"x":"\ufffd"}'),))


def test_a_script_that_is_not_text_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_bytes(b"model: a\n\nturns: \xff")
    with pytest.raises(ScriptError, match=r"desk\.yaml:3: is not UTF-8 text"):
        load_script(tmp_path / "desk.yaml")
    (tmp_path / "desk.yaml").write_bytes("\ufeffmodel: a\n".encode())
    assert load_script(tmp_path / "desk.yaml").model == "a"
