"""Values as OTLP writes them: attributes, the resource, and the scope that everything of ours has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SCOPE = "patchbay"


def put_value(value: AnyValue, given: object) -> None:
    """Write a value; what is no text, number, flag or list of them is written as text."""
    match given:
        case str():
            value.string_value = given
        case bool():
            value.bool_value = given
        case int() if -(2**63) <= given < 2**63:
            value.int_value = given
        case float():
            value.double_value = given
        case list() | tuple():
            value.array_value.SetInParent()
            for part in given:
                put_value(value.array_value.values.add(), part)
        case _:
            value.string_value = str(given)


def put_attributes(attributes: Any, given: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Add attributes to a message's field; those that are None are left out."""
    for key, value in given.items() if isinstance(given, Mapping) else given:
        if value is not None:
            added = attributes.add()
            added.key = key
            put_value(added.value, value)


def resource_message(attributes: Mapping[str, str]) -> Resource:
    """The resource of all that this courier sends."""
    resource = Resource()
    put_attributes(resource.attributes, attributes)
    return resource


def scope_message(version: str) -> InstrumentationScope:
    """The instrumentation scope of all that this courier sends."""
    return InstrumentationScope(name=SCOPE, version=version)
