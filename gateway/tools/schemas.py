"""Turns a tool's parameter schema into one that model services accept.

A model service refuses a whole session because of one schema that it does not accept. It requires an object with
`properties` at the top level, without `anyOf`, `oneOf`, `allOf`, `enum`, `const` and `not`; arrays that declare their
items; and keywords with values of the right type. Every change made here only widens what a model may send: the tool
still checks its arguments.
Source: the OpenAI API's errors about tools (`invalid_function_parameters`); JSON Schema 2020-12, the meta-schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sessions.ports import Json, JsonObject

_MAX_DEPTH = 40
# The most schemas that are visited; references may repeat some of them.
_MAX_SCHEMAS = 10_000
_MAX_KEPT = 1024
# The most references that are followed one after another.
_MAX_REFS = 16
_UNIONS = ("allOf", "anyOf", "oneOf")
_NOT_ON_TOP = frozenset({*_UNIONS, "enum", "const", "not", "if", "then", "else", "$ref", "$dynamicRef", "items"})
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_WORDS = ("title", "description", "$comment", "format", "pattern", "$id", "$schema", "$anchor", "contentEncoding")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains")
_FLAGS = ("uniqueItems", "deprecated", "readOnly", "writeOnly")
_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_SEVERAL = (*_UNIONS, "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


@dataclass(frozen=True, slots=True)
class FittedSchema:
    """Parameters for a model. `note` says in words what the schema can no longer express; it is mostly empty."""

    parameters: JsonObject
    note: str


# Every call converts its tools again, and their schemas stay the same objects. Each schema is kept here, so that its id
# is not reused.
_KEPT: dict[int, tuple[JsonObject, FittedSchema]] = {}


def fit_schema(schema: JsonObject) -> FittedSchema:
    """The nearest schema that model services accept."""
    kept = _KEPT.get(id(schema))
    if kept is None:
        if len(_KEPT) >= _MAX_KEPT:
            del _KEPT[next(iter(_KEPT))]
        kept = _KEPT[id(schema)] = (schema, _fit(schema))
    return kept[1]


def _fit(schema: JsonObject) -> FittedSchema:
    budget = [_MAX_SCHEMAS]
    top = _without_unions(_mapping(_valid(schema, 0, budget)), schema, 0, budget)
    properties = top.fields.get("properties")
    parameters: dict[str, Json] = {"type": "object", "properties": properties if properties is not None else {}}
    parameters |= {key: value for key, value in top.fields.items() if key not in _NOT_ON_TOP | parameters.keys()}
    return FittedSchema(parameters, " ".join(top.notes))


# ---- rules for every nested schema


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_KEYWORDS: Mapping[str, Callable[[Json], bool]] = {
    **dict.fromkeys(_WORDS, lambda value: isinstance(value, str)),
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_FLAGS, lambda value: isinstance(value, bool)),
    "multipleOf": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "examples": lambda value: isinstance(value, list),
}


def _valid(schema: Json, depth: int, budget: list[int]) -> Json:
    """The schema without keywords whose values are invalid; True, which allows everything, where it is not a schema."""
    budget[0] -= 1
    if isinstance(schema, bool) or not isinstance(schema, Mapping) or depth > _MAX_DEPTH or budget[0] < 0:
        return {} if schema is not False else False
    valid: dict[str, Json] = {}
    for key, value in schema.items():
        if key in _ONE:
            valid[key] = _valid_single(key, value, depth, budget)
        elif key in _SEVERAL:
            if isinstance(value, list) and value:
                valid[key] = [_valid(one, depth + 1, budget) for one in value]
        elif key in _NAMED:
            if isinstance(value, Mapping):
                valid[key] = {name: one for name, one in _valid_named(value, depth, budget) if one is not False}
        elif key == "required":
            if isinstance(value, list):
                valid[key] = list(dict.fromkeys(name for name in value if isinstance(name, str)))
        elif key == "type":
            if (kinds := _kinds(value)) is not None:
                valid[key] = kinds
        elif key == "$ref":
            if isinstance(value, str) and value.startswith("#"):
                valid[key] = value
        elif key not in _KEYWORDS or _KEYWORDS[key](value):
            valid[key] = value
    kinds = valid.get("type")
    if (kinds == "array" or (isinstance(kinds, list) and "array" in kinds)) and "items" not in valid:
        valid["items"] = {}
    return valid


def _valid_single(key: str, value: Json, depth: int, budget: list[int]) -> Json:
    if isinstance(value, bool) and key == "additionalProperties":
        return value
    if isinstance(value, list):  # before JSON Schema 2020, `items` could be a list with a schema for each position
        return {"anyOf": [_valid(one, depth + 1, budget) for one in value]} if value else {}
    one = _valid(value, depth + 1, budget)
    return {} if one is False else one


def _valid_named(schemas: Mapping[str, Json], depth: int, budget: list[int]) -> Iterator[tuple[str, Json]]:
    for name, schema in schemas.items():
        yield name, _valid(schema, depth + 1, budget)


def _kinds(value: Json) -> Json:
    if isinstance(value, str):
        return value if value in _TYPES else None
    kinds = [kind for kind in value if isinstance(kind, str) and kind in _TYPES] if isinstance(value, list) else []
    return (kinds if len(kinds) > 1 else kinds[0]) if kinds else None


# ---- rules for the top level only


@dataclass(slots=True)
class _Top:
    """An object schema without unions, and notes about what the unions said."""

    fields: dict[str, Json]
    notes: list[str]

    @property
    def required(self) -> list[str]:
        names = self.fields.get("required")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _without_unions(schema: JsonObject, root: JsonObject, depth: int, budget: list[int]) -> _Top:
    """The object that a schema describes, with the properties of all its branches."""
    schema = _resolved(schema, root, budget)
    top = _Top({key: value for key, value in schema.items() if key not in _UNIONS}, [])
    budget[0] -= 1
    if depth > _MAX_REFS or budget[0] < 0:
        return top
    for key in _UNIONS:
        found = schema.get(key)
        branches = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
        objects = [_without_unions(branch, root, depth + 1, budget) for branch in branches if _may_be_object(branch)]
        if objects:
            _merge(top, objects, every=key == "allOf")
        if objects and key != "allOf":
            top.notes += _choice_notes(objects, exactly=key == "oneOf")
    return top


def _resolved(schema: JsonObject, root: JsonObject, budget: list[int]) -> JsonObject:
    for _ in range(_MAX_REFS):
        pointer = schema.get("$ref")
        if not isinstance(pointer, str):
            return schema
        found: Json = root
        for step in pointer.removeprefix("#").split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        target = _valid(found, 0, budget) if isinstance(found, Mapping) and found is not root else {}
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **beside} if isinstance(target, Mapping) else beside
    return {key: value for key, value in schema.items() if key != "$ref"}


def _may_be_object(branch: JsonObject) -> bool:
    kinds = branch.get("type", "object")
    return kinds == "object" or (isinstance(kinds, list) and "object" in kinds)


def _merge(top: _Top, branches: list[_Top], *, every: bool) -> None:
    """Add the branches' properties to the top level. `every`: a call must match all branches, not just one of them."""
    properties = dict(_mapping(top.fields.get("properties")))
    found: dict[str, list[Json]] = {}
    for branch in branches:
        for name, schema in _mapping(branch.fields.get("properties")).items():
            if schema not in found.setdefault(name, []):
                found[name].append(schema)
        for key in ("$defs", "definitions"):
            if isinstance(branch.fields.get(key), Mapping):
                top.fields[key] = {**_mapping(branch.fields[key]), **_mapping(top.fields.get(key))}
        top.notes += branch.notes
    for name, schemas in found.items():
        properties[name] = _either(schemas) if name not in properties else _both(properties[name], _either(schemas))
    lists = [branch.required for branch in branches]
    names = [name for names in lists for name in names if every or all(name in other for other in lists)]
    top.fields["properties"] = properties
    if required := list(dict.fromkeys([*top.required, *names])):
        top.fields["required"] = required
    closed = [branch.fields.get("additionalProperties") is False for branch in branches]
    if "additionalProperties" not in top.fields and not every and all(closed):
        top.fields["additionalProperties"] = False
    for key in ("title", "description"):
        if key not in top.fields and len(branches) == 1 and key in branches[0].fields:
            top.fields[key] = branches[0].fields[key]


def _either(schemas: list[Json]) -> Json:
    """One schema for a property that branches describe in different ways."""
    if len(schemas) == 1:
        return schemas[0]
    values = [_values(schema) for schema in schemas]
    if all(values):  # such a property tells the branches apart
        kinds = {kind for schema in schemas if isinstance(kind := _mapping(schema).get("type"), str)}
        enum: dict[str, Json] = {"enum": [value for some in values for value in some or ()]}
        return {"type": kinds.pop(), **enum} if len(kinds) == 1 else enum
    return {"anyOf": schemas}


def _both(schema: Json, other: Json) -> Json:
    return {**_mapping(other), **_mapping(schema)}


def _values(schema: Json) -> list[Json] | None:
    fields = _mapping(schema)
    if "const" in fields:
        return [fields["const"]]
    values = fields.get("enum")
    return list(values) if isinstance(values, list) else None


def _choice_notes(branches: list[_Top], *, exactly: bool) -> list[str]:
    """Which arguments belong together, in words, where the branches require different ones."""
    lists = [branch.required for branch in branches]
    sets = [[name for name in names if not all(name in other for other in lists)] for names in lists]
    sets_in_words = list(dict.fromkeys(", ".join(names) for names in sets if names))
    if len(sets_in_words) < 2:
        return []
    return [f"Give {'exactly' if exactly else 'at least'} one of these sets of arguments: {'; '.join(sets_in_words)}."]


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
