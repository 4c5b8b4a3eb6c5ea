"""Reads YAML into plain values and remembers the line of each, so that whoever checks them can name it.

Stricter than YAML 1.1, where that bites: a key may stand once, there are no anchors, and only `true` and `false` are
booleans (`yes`, `no`, `on`, `off`, and times such as 11:30, are text).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from sessions.ports import Json

MAX_DEPTH = 32
MAX_DIGITS = 300  # of a whole number; Python itself refuses those of more than 4,300
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({_TAG + name for name in ("str", "timestamp", "value", "bool", "int", "float")})
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
class YamlDocument:
    """A document's value, and where each of its fields stands."""

    value: Json
    lines: dict[str, int]

    def line_of(self, field: str) -> int:
        """The line, from 1, of `a.b[2].c` (or `a.b.2.c`), or of the nearest field around it."""
        path = _canonical(field)
        while path not in self.lines and "." in path:
            path = path.rpartition(".")[0]
        return self.lines.get(path, self.lines.get("", 1))


def read_yaml(text: str) -> YamlDocument:
    """One document. Raises YamlFault."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n") + 1  # a bracket left open is missed only past the end
        raise YamlFault(
            min(mark.line + 1, last) if mark else 1, "", f"is not YAML: {error.problem or error.context}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFault(line, "", "is not YAML: it holds a character that YAML does not allow") from error
    if root is None:
        return YamlDocument(None, {})
    builder = _Builder()
    return YamlDocument(builder.build(root, "", 0), builder.lines)


class _Builder:
    """Turns YAML nodes into values, noting their lines."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._seen: dict[int, yaml.Node] = {}  # the nodes are kept: an id is only good while its owner lives

    def build(self, node: yaml.Node, path: str, depth: int) -> Json:
        line = node.start_mark.line + 1
        self.lines.setdefault(_canonical(path), line)
        if id(node) in self._seen:
            raise YamlFault(line, path, "anchors and aliases (& and *) are not supported; write the value again")
        self._seen[id(node)] = node
        if depth > MAX_DEPTH:
            raise YamlFault(line, path, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, path)
        raise YamlFault(line, path, f"the tag {node.tag} is not supported")

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> Json:
        value: dict[str, Json] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _TAG + "merge":
                raise YamlFault(line, path, "a key must be a word")
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key in value:
                raise YamlFault(line, here, f"stands here twice, first in line {self.lines[_canonical(here)]}")
            self.lines[_canonical(here)] = line
            value[key] = self.build(value_node, here, depth + 1)
        return value


def _scalar(node: yaml.ScalarNode, path: str) -> Json:
    text = str(node.value)
    plain = not node.style  # None, or "" from the parser in C
    if node.tag == _TAG + "null":
        return None
    if node.tag not in _TEXT_TAGS:
        raise YamlFault(node.start_mark.line + 1, path, f"the tag {node.tag} is not supported")
    if plain and node.tag == _TAG + "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if plain and node.tag == _TAG + "int" and _WHOLE.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise YamlFault(node.start_mark.line + 1, path, f"is a number of more than {MAX_DIGITS} digits")
        return int(text)
    if plain and node.tag == _TAG + "float" and _FRACTION.fullmatch(text):
        return float(text)
    return text


def _canonical(field: str) -> str:
    return _INDEX.sub(r".\1", field)
