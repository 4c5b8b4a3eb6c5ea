"""A tool's parameters as models accept them: an object with properties and no unions at the top level."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.schemas import fit_schema
from sessions.ports import JsonObject

TEXT: dict[str, Any] = {"type": "string"}
REFUSED_ON_TOP = ("anyOf", "oneOf", "allOf", "enum", "const", "not", "$ref")


def an_object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        ({"type": "object"}, an_object()),
        ({}, an_object()),
        ({"type": "string"}, an_object()),
        ({"type": ["object", "null"], "properties": {"a": TEXT}}, an_object(a=TEXT)),
        ({"type": None, "properties": None, "required": None}, an_object()),
        ({**an_object("a", a=TEXT), "enum": [{}], "const": {}, "not": {}}, an_object("a", a=TEXT)),
        ({"anyOf": [an_object("a", a=TEXT), an_object("b", b=TEXT)]}, an_object(a=TEXT, b=TEXT)),
        ({"anyOf": [an_object("a", "b", a=TEXT, b=TEXT), an_object("b", b=TEXT)]}, an_object("b", a=TEXT, b=TEXT)),
        ({"allOf": [an_object("a", a=TEXT), an_object("b", b=TEXT)]}, an_object("a", "b", a=TEXT, b=TEXT)),
        ({**an_object(a=TEXT), "oneOf": [{"required": ["a"]}, {"required": []}]}, an_object(a=TEXT)),
        ({"anyOf": [an_object("a", a=TEXT), {"type": "null"}]}, an_object("a", a=TEXT)),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, an_object()),
        ({"anyOf": "x", "oneOf": [], "allOf": [3]}, an_object()),
        ({"anyOf": [{"allOf": [an_object("a", a=TEXT)]}]}, an_object("a", a=TEXT)),
        (
            {
                "oneOf": [
                    an_object("by", by={"const": "name", "type": "string"}, name=TEXT),
                    an_object("by", by={"const": "id", "type": "string"}, id={"type": "integer"}),
                ]
            },
            an_object("by", by={"type": "string", "enum": ["name", "id"]}, name=TEXT, id={"type": "integer"}),
        ),
        (
            {"anyOf": [an_object(a=TEXT), an_object(a={"type": "integer"})]},
            an_object(a={"anyOf": [TEXT, {"type": "integer"}]}),
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": an_object("a", a=TEXT)}},
            {**an_object("a", a=TEXT), "$defs": {"A": an_object("a", a=TEXT)}},
        ),
        ({"$ref": "#"}, an_object()),
        ({"$ref": "https://example.com/a.json"}, an_object()),
        (
            {"anyOf": [{**an_object(a=TEXT), "additionalProperties": False}] * 2},
            {**an_object(a=TEXT), "additionalProperties": False},
        ),
    ],
)
def test_the_top_level_is_an_object_with_properties_and_no_union(schema: JsonObject, parameters: JsonObject) -> None:
    assert fit_schema(schema).parameters == parameters


@pytest.mark.parametrize(
    ("schema", "sound"),
    [
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": ["array", "null"]}, {"type": ["array", "null"], "items": {}}),
        ({"type": "array", "items": {"type": "array"}}, {"type": "array", "items": {"type": "array", "items": {}}}),
        ({"type": "array", "items": [TEXT]}, {"type": "array", "items": {"anyOf": [TEXT]}}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        ({"anyOf": [{"type": "array"}, TEXT]}, {"anyOf": [{"type": "array", "items": {}}, TEXT]}),
        ({"type": "any"}, {}),
        ({"type": "string", "required": True}, TEXT),
        ({"type": "string", "description": None, "enum": []}, TEXT),
        ({"type": "integer", "exclusiveMinimum": True, "minimum": 1}, {"type": "integer", "minimum": 1}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        (True, {}),
        (None, {}),
        ("string", {}),
        ({"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}),
        ({"$ref": "other.json"}, {}),
        ({"type": "string", "format": "date", "x-own": [1]}, {"type": "string", "format": "date", "x-own": [1]}),
    ],
)
def test_a_nested_schema_loses_invalid_keywords(schema: Any, sound: JsonObject) -> None:
    assert fit_schema(an_object(a=schema)).parameters == an_object(a=sound)


def test_a_property_that_no_value_matches_is_left_out() -> None:
    assert fit_schema(an_object(a=False, b=TEXT)).parameters == an_object(b=TEXT)


def test_arguments_that_belong_together_are_named_in_the_note() -> None:
    schema = {**an_object(a=TEXT, b=TEXT), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert fit_schema(schema).note == "Give at least one of these sets of arguments: a; b."
    assert fit_schema({**schema, "oneOf": schema["anyOf"], "anyOf": []}).note.startswith("Give exactly one")
    assert fit_schema(an_object("a", a=TEXT)).note == ""


KEYS = st.sampled_from(
    ["type", "properties", "required", "anyOf", "oneOf", "allOf", "items", "$ref", "$defs", "enum", "not", "a", "b"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["object", "array", "string", "#", "#/$defs/a", "#/anyOf"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_becomes_a_schema_that_models_accept(schema: dict[str, Any]) -> None:
    parameters = fit_schema(schema).parameters
    assert parameters["type"] == "object"
    assert isinstance(parameters["properties"], dict)
    assert not set(parameters) & set(REFUSED_ON_TOP)


def test_a_recursive_schema_ends() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"type": "object", "properties": {"a": deep}, "anyOf": [deep]}
    assert fit_schema(deep).parameters["type"] == "object"
    ring = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}
    assert fit_schema(ring).parameters["type"] == "object"
