"""A result that has arrived reaches the model, whatever the server did wrong, and each fault is logged."""

from __future__ import annotations

import json

import pytest

from gateway.tools.answers import NOTHING_SAID, first_violation, read_result
from sessions.ports import Json, JsonObject

NOTE: JsonObject = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}


def words(text: Json) -> Json:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("result", "text", "refused"),
    [
        ({"content": [words("a \ud83d b")]}, "a \ufffd b", False),
        (
            {"content": [words("Booked.")], "structuredContent": {"n": None}},
            '{"sentence": "Booked.", "n": null}',
            False,
        ),
        ({"content": [words("No.")], "isError": True}, '{"error": "No."}', True),
        (
            {"content": [words("No.")], "structuredContent": {"free": ["17:00"]}, "isError": True},
            '{"error": "No.", "free": ["17:00"]}',
            True,
        ),
        ({"content": [words("No.")], "isError": "true"}, '{"error": "No."}', True),
        ({"content": [words("Yes.")], "isError": None}, "Yes.", False),
        ({"content": [words("Yes.")], "isError": "false"}, "Yes.", False),
        ({"content": words("Yes.")}, "Yes.", False),
        ({"content": "Yes."}, "Yes.", False),
        ({"content": ["Yes.", 7, None]}, "Yes.\n7\n", False),
        ({"content": [words(None), words({"a": 1})]}, '\n{"a": 1}', False),
        ({"content": [{"type": "poem", "text": "Yes."}]}, "Yes.", False),
        ({"content": [{"type": "poem", "lines": 3}]}, "[poem left out]", False),
        ({"content": [{"text": "Yes."}]}, "Yes.", False),
        (
            {"content": [{"type": "image", "data": "x"}, {"type": "resource"}]},
            "[image left out]\n[resource left out]",
            False,
        ),
        ({"content": [{"type": "resource", "resource": {"text": "Yes."}}]}, "Yes.", False),
        ({"content": []}, NOTHING_SAID, False),
        ({"content": None}, NOTHING_SAID, False),
        ({}, NOTHING_SAID, False),
        (None, NOTHING_SAID, False),
        ([1, 2], '{"result": [1, 2]}', False),
        (7, '{"result": 7}', False),
        ("Yes.", '{"result": "Yes."}', False),
        ({"structuredContent": [1]}, '{"result": [1]}', False),
        ({"content": [words("3")], "structuredContent": {"result": 3}}, "3", False),
        ({"content": [words('{"x": 1}')], "structuredContent": {"x": 1}}, '{"x": 1}', False),
    ],
)
def test_a_result_is_read_as_far_as_possible(result: Json, text: str, refused: bool) -> None:
    given = read_result(result, 1000)
    assert (given.text, given.refused) == (text, refused)
    given.text.encode()


@pytest.mark.parametrize(
    ("result", "note"),
    [
        ([1], "the result is array, not an object"),
        ({"content": "secret"}, "content is string, not an array"),
        ({"content": ["secret"]}, "content[0] is string, not an object"),
        ({"content": [words(1)]}, "content[0].text is number, not a string"),
        ({"content": [], "isError": 1}, "isError is number, not a boolean"),
        ({"content": [], "structuredContent": "secret"}, "structuredContent is string, not an object"),
    ],
)
def test_a_server_fault_is_noted_without_the_servers_words(result: Json, note: str) -> None:
    notes = read_result(result, 1000).notes
    assert note in notes
    assert "secret" not in str(notes)


def test_content_against_its_schema_is_passed_on_and_noted() -> None:
    result: Json = {"content": [words("Booked as number 7.")], "structuredContent": {"note": None}}
    given = read_result(result, 1000, NOTE)
    assert json.loads(given.text) == {"sentence": "Booked as number 7.", "note": None}
    assert given.notes == ("structuredContent.note is null, but its outputSchema says string",)
    assert read_result({"content": [words("Yes.")]}, 1000, NOTE).notes == (
        "structuredContent is missing, though the tool has an outputSchema",
    )


@pytest.mark.parametrize(
    ("schema", "facts", "broken"),
    [
        (NOTE, {"note": "x"}, None),
        (NOTE, {}, "structuredContent.note is missing, but its outputSchema requires it"),
        ({"properties": {"a": {"type": ["string", "null"]}}}, {"a": None}, None),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 2.0}, None),
        (
            {"properties": {"a": {"type": "integer"}}},
            {"a": True},
            "structuredContent.a is boolean, but its outputSchema says integer",
        ),
        (
            {"properties": {"a": {"items": {"type": "string"}}}},
            {"a": ["x", 1]},
            "structuredContent.a[] is number, but its outputSchema says string",
        ),
        (
            {"properties": {"a": {"enum": ["x"]}}},
            {"a": "y"},
            "structuredContent.a is not one of the values in its outputSchema",
        ),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, {"a": None}, None),
        (
            {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
            {"a": 1},
            "structuredContent.a matches no choice of its outputSchema",
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
            {"a": 1},
            "structuredContent.a is number, but its outputSchema says string",
        ),
        ({"properties": {"a": {"$ref": "elsewhere.json"}}}, {"a": 1}, None),
        ({"$ref": "#"}, {"a": 1}, None),
        ({"type": 7, "required": "x", "properties": []}, {"a": 1}, None),
    ],
)
def test_a_schema_check_covers_types_required_fields_and_choices(
    schema: JsonObject, facts: JsonObject, broken: str | None
) -> None:
    assert first_violation(schema, facts) == broken


def test_a_result_that_is_too_long_is_cut_with_a_note() -> None:
    long = read_result({"content": [words("ä" * 3000)]}, 1000).text
    assert long == "ä" * 500 + "\n[Cut: the result has 6000 bytes, 1000 are shown.]"
    facts: Json = {"structuredContent": {"rows": list(range(300_000))}}
    assert read_result(facts, 1000).text.endswith("\n[Cut: only the first 1000 bytes of the result are shown.]")
    both: Json = {"content": [words("Short.")], "structuredContent": {"rows": list(range(1000))}}
    assert read_result(both, 1000).text == "Short."


def test_content_that_is_nested_too_deeply_is_left_out() -> None:
    deep: Json = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert read_result({"content": [words("Done.")], "structuredContent": deep}, 1000).text == "Done."
    assert "nested too deeply" in read_result({"structuredContent": deep}, 100_000).text
