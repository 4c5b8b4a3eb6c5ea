"""Tests for gateway/models/scripted_file.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio.formats import PCMU_8K
from audio.wav import write_wav
from gateway.models.scripted_file import ScriptError, load_script, read_script
from gateway.models.scripted_shape import FAST, Faults, Hears, Recording, ToolCall, Trouble, When
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
        ("turns:\n  - repeat: 1", 2, "turns[0].repeat"),
        ("turns:\n  - after_ms: -1", 2, "turns[0].after_ms"),
        ("turns:\n  - fault: {drop: true}", 2, "turns[0].fault.drop"),
        ("turns:\n  - hears: {word: a}", 2, "turns[0].hears.word"),
        ("refuse: [200]", 1, "refuse[0]"),
        ("usage: {tokens: 1}", 1, "usage.tokens"),
        ("turns: &a\n  - *a", 1, "turns"),
        ("model: !!int x", 1, "model"),
    ],
)
def test_an_error_names_file_line_and_field(text: str, line: int, field: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as caught:
        read_script(text, "desk.yaml", tmp_path)
    assert str(caught.value).startswith(f"desk.yaml, line {line}: {field}")
    assert caught.value.line == line
