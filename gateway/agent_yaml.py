"""Reads YAML into plain values and remembers the line of each, so that whoever checks them can name it.

Stricter than YAML 1.1, where that bites: a key may stand once, there are no anchors, and only `true` and `false` are
booleans (`yes`, `no`, `on`, `off`, and times such as 11:30, are text).

Whatever the text holds, reading it takes little time and memory, and no stack: values are made of the parser's events
as they come, since PyYAML's own way, to compose all nodes first, ends the process when brackets are nested deep enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from gateway.yielding import let_others_run
from sessions.ports import Json

MAX_DEPTH = 32
MAX_DIGITS = 300  # of a whole number; Python itself refuses those of more than 4,300
MAX_VALUES = 50_000  # in a document, so that a megabyte of brackets is refused after half a second
MAX_FIELD_CHARS = 1000  # of a field's name with those around it, which is kept for each value below
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "null", "timestamp", "value", "bool", "int", "float"})
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INDEX = re.compile(r"\[(\d+)\]")


class YamlFault(ValueError):
    """The text is no YAML that we take; `line` counts from 1, `field` is empty where no field is at fault."""

    def __init__(self, line: int, field: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as it is written. `tag` is YAML's name for its type, such as `int`; `plain`: without quotes."""

    text: str
    tag: str
    plain: bool


# Makes a value of a scalar. Raises ValueError, whose words go behind the field's name.
ScalarReader: TypeAlias = "Callable[[Scalar], str | int | float | bool | None]"


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document's value, and where each of its fields stands."""

    value: Json
    lines: dict[str, int]
    written: dict[str, str] = field(default_factory=dict)  # each number as it is written, by its field

    def line_of(self, field: str) -> int:
        """The line, from 1, of `a.b[2].c` (or `a.b.2.c`), or of the nearest field around it."""
        path = _canonical(field)
        while path not in self.lines and "." in path:
            path = path.rpartition(".")[0]
        return self.lines.get(path, self.lines.get("", 1))


def plain_scalar(scalar: Scalar) -> str | int | float | bool | None:
    """A value by the rules that stand at the top of this module."""
    text, tag, plain = scalar.text, scalar.tag, scalar.plain
    if tag == "null":
        return None
    if plain and tag == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if plain and tag == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if plain and tag == "float" and _FRACTION.fullmatch(text):
        return float(text)
    return text


def read_yaml(text: str, scalar: ScalarReader = plain_scalar, loader: Any = LOADER) -> YamlDocument:
    """One document. Raises YamlFault."""
    try:
        _check_directives(text, loader)
        parser = loader(text)
        try:
            return _Builder(parser, scalar).document()
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n") + 1  # a bracket left open is missed only past the end
        raise YamlFault(
            min(mark.line + 1, last) if mark else 1, "", f"is not YAML: {error.problem or error.context}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(line, "", "is not YAML: it holds a character that YAML does not allow") from error


def _check_directives(text: str, loader: Any) -> None:
    """Refuse directives for tags, before the parser compares each of them with all others."""
    for token in yaml.scan(text, Loader=loader):
        if isinstance(token, yaml.DirectiveToken):
            if token.name != "YAML":
                raise YamlFault(token.start_mark.line + 1, "", f"the directive %{token.name} is not supported")
        elif not isinstance(token, yaml.StreamStartToken):
            return


class _Builder:
    """Turns a parser's events into values, noting their lines."""

    def __init__(self, parser: Any, scalar: ScalarReader) -> None:
        self._parser = parser
        self._scalar = scalar
        self._values = 0
        self.lines: dict[str, int] = {}
        self.written: dict[str, str] = {}

    def document(self) -> YamlDocument:
        """The only document; None is the value of an empty text."""
        event = self._next()  # the stream's beginning
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return YamlDocument(None, {})
        value = self._value(self._next(), "", 0)
        self._next()  # the document's end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            told = "is not YAML: a second document begins here; a file holds one"
            raise YamlFault(event.start_mark.line + 1, "", told)
        return YamlDocument(value, self.lines, self.written)

    def _next(self) -> Any:
        return self._parser.get_event()

    def _value(self, event: Any, path: str, depth: int) -> Json:
        line = event.start_mark.line + 1
        self.lines.setdefault(_canonical(path), line)
        self._values += 1
        let_others_run(self._values)
        if self._values > MAX_VALUES:
            raise YamlFault(line, "", f"more than {MAX_VALUES} values stand up to here; take some out")
        if event.anchor is not None:  # an alias has one too
            raise YamlFault(line, path, "anchors and aliases (& and *) are not supported; write the value again")
        if depth > MAX_DEPTH:
            raise YamlFault(line, path, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return self._read(event, path)
        wanted = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        if event.tag not in (None, "!", _TAG + wanted):
            raise YamlFault(line, path, f"the tag {event.tag} is not supported")
        return self._mapping(path, depth) if wanted == "map" else self._sequence(path, depth)

    def _sequence(self, path: str, depth: int) -> Json:
        items: list[Json] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{path}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> Json:
        value: dict[str, Json] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent) or (event.implicit[0] and event.value == "<<"):
                raise YamlFault(line, path, "a key must be a word")
            if event.anchor is not None:
                raise YamlFault(line, path, "anchors and aliases (& and *) are not supported; write the value again")
            key = event.value
            here = f"{path}.{key}" if path else key
            if len(here) > MAX_FIELD_CHARS:
                raise YamlFault(
                    line,
                    path,
                    f"holds a key too long: with those around it, {len(here)} signs; at most {MAX_FIELD_CHARS}",
                )
            if key in value:
                raise YamlFault(line, here, f"stands here twice, first in line {self.lines[_canonical(here)]}")
            self.lines[_canonical(here)] = line
            value[key] = self._value(self._next(), here, depth + 1)
        return value

    def _read(self, event: Any, path: str) -> Json:
        line, text = event.start_mark.line + 1, event.value
        tag = self._tag(event)
        if not tag.startswith(_TAG) or tag.removeprefix(_TAG) not in _SCALAR_TAGS:
            raise YamlFault(line, path, f"the tag {tag} is not supported")
        if len(text) > MAX_DIGITS and _WHOLE.fullmatch(text) and not event.style:
            raise YamlFault(line, path, f"is a number of more than {MAX_DIGITS} digits")
        scalar = Scalar(text, tag.removeprefix(_TAG), not event.style)
        try:
            value = self._scalar(scalar)
        except ValueError as error:
            raise YamlFault(line, path, str(error)) from error
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.written[path] = text
        return value

    def _tag(self, event: Any) -> str:
        if event.tag not in (None, "!"):
            return str(event.tag)
        if not event.implicit[0] or len(event.value) > MAX_DIGITS:
            return _TAG + "str"  # long ones are not matched against what numbers and dates look like: it takes long
        return str(self._parser.resolve(yaml.ScalarNode, event.value, event.implicit))


def _canonical(field: str) -> str:
    return _INDEX.sub(r".\1", field)
