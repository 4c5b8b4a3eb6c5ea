"""What is sent of words: messages by the conventions, without keys, error texts and what is masked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.telemetry.telemetry_records import agent, caller, response, tool, turn_of

from gateway.telemetry.spans.content import Words, as_text, cut
from gateway.telemetry.spans.pressed_keys import PressedKeys
from gateway.telemetry.spans.redaction import Redaction
from sessions.accounts import ResponseOrigin
from sessions.record import Turn


def words_of(*turns: Turn) -> Words:
    keys = PressedKeys()
    for turn in turns:
        keys.take(turn)
    return Words(Redaction(), keys)


def parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "content": text}]}


def assistant(finish_reason: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "parts": list(parts), "finish_reason": finish_reason}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


CALL = {"type": "tool_call", "id": "call_7", "name": "find_table", "arguments": {"people": 2}}
WITH_TOOL = turn_of(
    entries=[
        caller("A table for two"),
        agent("One moment.", item_id="item_1", begin_ms=2_100),
        tool(begin_ms=3_000, end_ms=3_200),
        agent("Table four is free.", item_id="item_2", heard_text="Table four", begin_ms=3_400),
    ],
    responses=[
        response(end_ms=3_000),
        response(response_id="resp_2", origin=ResponseOrigin.TOOL, begin_ms=3_200, asked_ms=3_200),
    ],
)


def test_a_turn_says_what_the_caller_said_and_what_was_heard() -> None:
    words = words_of(WITH_TOOL)
    assert parsed(words.turn_input(WITH_TOOL)) == [user("A table for two")]
    said = words.turn_output(WITH_TOOL)
    assert parsed(said) == [assistant("stop", text_part("One moment."), CALL, text_part("Table four"))]
    assert said is not None
    assert as_text(said) == "One moment.\nTable four"


def test_each_response_has_what_is_new_since_the_one_before() -> None:
    (asked, said), (answered, told) = words_of(WITH_TOOL).response_messages(WITH_TOOL)
    assert parsed(asked) == [user("A table for two")]
    assert parsed(said) == [assistant("tool_call", text_part("One moment."), CALL)]
    part = {"type": "tool_call_response", "id": "call_7", "response": '{"table":4}'}
    assert parsed(answered) == [{"role": "tool", "parts": [part]}]
    assert parsed(told) == [assistant("stop", text_part("Table four"))]


def test_a_tool_that_starts_as_the_next_response_begins_belongs_to_the_one_before() -> None:
    turn = turn_of(
        entries=[tool(begin_ms=3_000, end_ms=3_000)],
        responses=[response(end_ms=3_000), response(response_id="resp_2", begin_ms=3_000, asked_ms=3_000)],
    )
    (_, said), (answered, told) = words_of(turn).response_messages(turn)
    assert parsed(said) == [assistant("tool_call", CALL)]
    assert parsed(answered)[0]["role"] == "tool"
    assert told is None


@pytest.mark.parametrize(
    ("outcome", "reason", "finished"),
    [
        ("completed", None, "stop"),
        ("incomplete", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter"),
        ("failed", "failed", "error"),
        ("cancelled", "turn_detected", "turn_detected"),
    ],
)
def test_why_an_answer_ended_in_the_conventions_words(outcome: str, reason: str | None, finished: str) -> None:
    turn = turn_of(outcome=outcome, responses=[response(outcome=outcome, reason=reason)])
    words = words_of(turn)
    assert parsed(words.turn_output(turn))[0]["finish_reason"] == finished
    assert parsed(words.response_messages(turn)[0][1])[0]["finish_reason"] == finished


def test_what_was_not_heard_and_not_said_makes_no_message() -> None:
    turn = turn_of(entries=[caller(""), agent("Hello", heard_text="")])
    words = words_of(turn)
    assert (words.turn_input(turn), words.turn_output(turn)) == (None, None)
    assert words.response_messages(turn) == [(None, None)]


def test_an_errors_text_is_never_sent() -> None:
    turn = turn_of(
        entries=[tool(error="http_error", output='{"error":"user jane not found"}', begin_ms=2_100, end_ms=2_200)],
        responses=[response(), response(response_id="r2", begin_ms=3_000)],
    )
    words = words_of(turn)
    (use,) = turn.entries
    assert words.result(use) is None  # type: ignore[arg-type]
    found = orjson.dumps(words.response_messages(turn)).decode()
    assert "jane" not in found
    assert "http_error" in found


def test_pressed_keys_are_a_number_of_keys_everywhere_in_the_call() -> None:
    collected = tool(name="collect_digits", call_id="call_1", output='{"digits":"80331","ended_by":"count"}')
    first = turn_of(0, entries=[caller("4417#", keys=True, spoken=False), collected])
    second = turn_of(
        1,
        entries=[
            caller("is it 44 17 #?"),
            tool(arguments='{"pin":4417,"code":"4-4-1-7-#"}', output='{"code":"80331","n":80331}'),
            agent("Your code is 8 0 3 3 1, right."),
        ],
    )
    words = words_of(first, second)
    everything = "".join(
        text or ""
        for turn in (first, second)
        for text in (words.turn_input(turn), words.turn_output(turn), *map(str, words.response_messages(turn)))
    )
    results = [words.result(use) for turn in (first, second) for use in turn.entries if hasattr(use, "call_id")]
    assert results == ['{"digits":"[5 keys]","ended_by":"count"}', '{"code":"[5 keys]","n":"[5 keys]"}']
    for keys in ("4417#", "80331", "4-4-1-7", "8 0 3 3 1"):
        assert keys not in everything
    assert parsed(words.turn_input(first)) == [user("[5 keys]")]
    assert "[5 keys]" in everything


def test_keys_that_the_record_holds_as_a_number_stay_so_and_odd_results_are_hidden() -> None:
    turn = turn_of(
        entries=[
            caller("[4 keys]", keys=True, spoken=False),
            tool(name="collect_digits", output='{"digits":"[4 keys]","ended_by":"count"}'),
            tool(name="collect_digits", call_id="call_8", output="you typed 12"),
            caller("12 and more", keys=True, item_id="item_z"),
        ]
    )
    words = words_of(turn)
    assert parsed(words.turn_input(turn)) == [user("[4 keys]"), user("[keys]")]
    results = [words.result(use) for use in turn.entries if hasattr(use, "call_id")]
    assert results == ['{"digits":"[4 keys]","ended_by":"count"}', "[keys]"]


def test_words_are_masked_before_they_are_cut() -> None:
    mail = "x" * 8_180 + " jane.doe@example.com"
    use = tool(arguments=mail, output="é" * 5_000)
    words = words_of()
    assert words.arguments(use).endswith(" [email]")
    result = words.result(use)
    assert result is not None
    assert len(result.encode()) == 8 * 1024
    assert cut("aé", 2) == "a"
    assert cut("aé\ud83d", 9) == "aé\ud83d"
    turn = turn_of(entries=[caller("my mail is jane@example.com")])
    assert parsed(words.turn_input(turn)) == [user("my mail is [email]")]


def test_of_very_many_words_the_first_are_sent() -> None:
    turn = turn_of(
        entries=[
            *(caller("x" * 50_000, item_id=f"item_{at}") for at in range(4)),
            *(agent("y" * 50_000, item_id=f"item_a{at}") for at in range(4)),
        ]
    )
    words = words_of(turn)
    assert len(parsed(words.turn_input(turn))) == 2
    assert len(parsed(words.turn_output(turn))[0]["parts"]) == 2


def test_names_of_tools_and_the_models_words_are_bounded() -> None:
    turn = turn_of(
        entries=[tool(name="n" * 500)], responses=[response(outcome="incomplete", reason="because she said so")]
    )
    (message,) = parsed(words_of(turn).turn_output(turn))
    assert len(message["parts"][0]["name"]) == 64
    assert message["finish_reason"] == "other"
