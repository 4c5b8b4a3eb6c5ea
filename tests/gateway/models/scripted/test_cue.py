"""Tests for gateway/models/scripted/cue.py: which turn of a script answers."""

from __future__ import annotations

from pathlib import Path

from gateway.models.scripted.cue import Prompter
from gateway.models.scripted.file import read_script
from sessions.ports import JsonObject


def prompter(turns: str, attempt: int = 0) -> Prompter:
    return Prompter(read_script(f"turns: {turns}\notherwise: {{say: Else.}}", "test.yaml", Path()), attempt)


def typed(text: str) -> JsonObject:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def say(prompter: Prompter, **request: object) -> str:
    turn, _ = prompter.turn_for(request)  # type: ignore[arg-type]
    return turn.say


def test_each_turn_answers_once_unless_it_repeats() -> None:
    model = prompter("[{say: One.}, {say: Again., repeat: true}]")
    assert [say(model) for _ in range(3)] == ["One.", "Again.", "Again."]


def test_an_answered_text_does_not_count_for_the_next_answer() -> None:
    model = prompter("[{when: {text: cat}, say: Cat., repeat: true}]")
    model.note(typed("A cat?"))
    assert [say(model), say(model)] == ["Cat.", "Else."]


def test_an_output_is_matched_by_its_call_id() -> None:
    model = prompter("[{when: {tool: find, contains: free}, say: Found.}]")
    model.called("call_1", "find")
    model.note({"type": "function_call_output", "call_id": "call_1", "output": "A table is free."})
    assert say(model) == "Found."
    seeded = prompter("[{when: {tool: find}, say: Found.}]")
    seeded.note({"type": "function_call", "call_id": "call_2", "name": "find", "arguments": "{}"})
    seeded.note({"type": "function_call_output", "call_id": "call_2", "output": "none"})
    assert say(seeded) == "Found."


def test_an_out_of_band_request_does_not_use_up_what_the_conversation_has() -> None:
    model = prompter("[{when: {out_of_band: true, text: sum}, say: Beside.}, {when: {spoken: true}, say: Aloud.}]")
    model.spoke()
    assert model.turn_for({"conversation": "none", "input": [typed("Sum up.")]})[1] is False
    turn, spoken = model.turn_for({})
    assert turn.say == "Aloud."
    assert spoken


def test_a_given_text_uses_no_turn() -> None:
    model = prompter("[{say: One.}]")
    given = {"content": [{"type": "text", "text": "Hello."}]}
    assert say(model, pre_generated_assistant_message=given) == "Hello."
    assert say(model) == "One."
