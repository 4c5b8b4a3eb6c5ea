"""Reads YAML into plain values and keeps the line of each, so that an error can name it.

Stricter than YAML 1.1, in the same way for every file. A key may stand only once, and there are no anchors. Only `true`
and `false` are booleans, and only plain decimal digits are numbers (`5`, `-1.50`). Everything else is a text: `yes`,
`no`, `on`, `off`, `017`, `1_000`, `0x10`, `12:30`, `2026-11-21`, `.inf`. A number keeps the spelling that it has in the
file (`SpelledInt`, `SpelledFloat`).

Any text is read in little time, little memory and little stack: values are built directly from the parser's events.
PyYAML composes all nodes first, and its recursion ends the process where brackets are nested deep enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.runtime.fairness import let_other_threads_run
from sessions.ports import Json
from sessions.text import well_formed

MAX_DEPTH = 32
# The digits of one whole number. Python itself refuses more than 4,300.
MAX_DIGITS = 300
# The values of one document, so that a megabyte of brackets is refused after half a second.
MAX_VALUES = 50_000
# The length of a field's path, which is kept for each value.
MAX_FIELD_CHARS = 1000
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "null", "timestamp", "value", "bool", "int", "float"})
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INDEX = re.compile(r"\[(\d+)\]")
# JSON may write an emoji as two escapes, one for each half of a surrogate pair.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# An escape for a code point after the last one, U+10FFFF.
_NO_CHARACTER = re.compile(r"\\U(?!000|0010)")
_NO_ANCHORS = "anchors and aliases (& and *) are not supported; write the value again"


class YamlFault(ValueError):
    """The text cannot be read; `line` counts from 1, and `field` is empty where no field is at fault."""

    def __init__(self, line: int, field: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.field = field
        self.message = message


class SpelledInt(int):
    """A whole number that knows how the file spells it, for places where a text is expected."""

    spelling: str


class SpelledFloat(float):
    """A fraction that knows how the file spells it, such as 1.50, for places where a text is expected."""

    spelling: str


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document's value, and the line of each of its fields."""

    value: Json
    lines: dict[str, int]

    def line_of(self, field: str) -> int:
        """The line, from 1, of a field such as `a.b[2].c` or `a.b.2.c`; else that of the nearest field around it."""
        path = _canonical(field)
        while path not in self.lines and "." in path:
            path = path.rpartition(".")[0]
        return self.lines.get(path, self.lines.get("", 1))


def read_yaml(text: str, loader: Any = None) -> YamlDocument:
    """Read one document. `loader` is one of PyYAML's, by default the fastest that can read the text.

    Half a surrogate pair becomes U+FFFD. Raises YamlFault.
    """
    if loader is None:  # libyaml refuses halves of surrogate pairs, PyYAML's own parser does not
        loader = yaml.SafeLoader if _SURROGATE.search(text) else LOADER
    try:
        _check_directives(text, loader)
        parser = loader(text)
        try:
            return _Builder(parser).document()
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n") + 1  # the parser misses an open bracket only after the last line
        raise YamlFault(
            min(mark.line + 1, last) if mark else 1, "", f"is not YAML: {error.problem or error.context}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(line, "", "is not YAML: it holds a character that YAML does not allow") from error
    except YamlFault:
        raise
    except (ValueError, OverflowError) as error:  # PyYAML's own parser makes a character of every escape
        found = _NO_CHARACTER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise YamlFault(line, "", "is not YAML: it holds an escape that is no character") from error


def _check_directives(text: str, loader: Any) -> None:
    """Refuse directives for tags, before the parser compares each of them with all others."""
    for token in yaml.scan(text, Loader=loader):
        if isinstance(token, yaml.DirectiveToken):
            if token.name != "YAML":
                raise YamlFault(token.start_mark.line + 1, "", f"the directive %{token.name} is not supported")
        elif not isinstance(token, yaml.StreamStartToken):
            return


class _Builder:
    """Turns a parser's events into values, and keeps their lines."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._values = 0
        self.lines: dict[str, int] = {}

    def document(self) -> YamlDocument:
        """The only document; None is the value of an empty text."""
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return YamlDocument(None, {})
        value = self._value(self._next(), "", 0)
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            message = "is not YAML: a second document begins here; a file holds one"
            raise YamlFault(event.start_mark.line + 1, "", message)
        return YamlDocument(value, self.lines)

    def _next(self) -> Any:
        return self._parser.get_event()

    def _value(self, event: Any, path: str, depth: int) -> Json:
        line = event.start_mark.line + 1
        self.lines.setdefault(_canonical(path), line)
        self._values += 1
        let_other_threads_run(self._values)
        if self._values > MAX_VALUES:
            raise YamlFault(line, "", f"more than {MAX_VALUES} values up to here; take some out")
        if event.anchor is not None:  # an alias has one too
            raise YamlFault(line, path, _NO_ANCHORS)
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
                raise YamlFault(line, path, _NO_ANCHORS)
            key = well_formed(event.value)
            here = f"{path}.{key}" if path else key
            if len(here) > MAX_FIELD_CHARS:
                message = f"holds a key too long: its path has {len(here)} characters; at most {MAX_FIELD_CHARS}"
                raise YamlFault(line, path, message)
            if key in value:
                raise YamlFault(line, here, f"stands here twice, first in line {self.lines[_canonical(here)]}")
            self.lines[_canonical(here)] = line
            value[key] = self._value(self._next(), here, depth + 1)
        return value

    def _read(self, event: Any, path: str) -> Json:
        line, text = event.start_mark.line + 1, well_formed(event.value)
        tag = self._tag(event)
        kind = tag.removeprefix(_TAG)
        if not tag.startswith(_TAG) or kind not in _SCALAR_TAGS:
            raise YamlFault(line, path, f"the tag {tag} is not supported")
        if len(text) > MAX_DIGITS and (kind == "int" or not event.style) and _WHOLE.fullmatch(text):
            raise YamlFault(line, path, f"is a number of more than {MAX_DIGITS} digits")
        value = _value_of(text, kind)
        tagged = event.tag not in (None, "!")
        if tagged and kind != "str" and (isinstance(value, str) or (value is None and text not in _NULLS)):
            raise YamlFault(line, path, f"does not fit its tag !!{kind}; take the tag out")
        return value

    def _tag(self, event: Any) -> str:
        if event.tag not in (None, "!"):
            return str(event.tag)
        if not event.implicit[0] or len(event.value) > MAX_DIGITS:
            return _TAG + "str"  # to compare a long text with the patterns of numbers and dates takes long
        return str(self._parser.resolve(yaml.ScalarNode, event.value, event.implicit))


def _value_of(text: str, kind: str) -> str | int | float | bool | None:
    """A value by the rules at the top of this module; `kind` is YAML's name for its type, such as `int`."""
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "int" and _WHOLE.fullmatch(text):
        whole = SpelledInt(text)
        whole.spelling = text
        return whole
    if kind == "float" and _FRACTION.fullmatch(text):
        fraction = SpelledFloat(text)
        fraction.spelling = text
        return fraction
    return text


def _canonical(field: str) -> str:
    return _INDEX.sub(r".\1", field)
