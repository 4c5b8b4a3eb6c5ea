"""Reads the values of a file that a person writes: agents, dialogues, scripts of the scripted model, and `mcp.json`.

A `Section` is one mapping of such a file. It refuses keys that it does not know, and returns each value by type. Every
refusal names the path of the value, such as `tools[0].deadline_s`; `value_file.py` adds the file and the line.

The rules are the same for every file. A key without a value (null) counts as left out, except for a switch. A YAML
number in the place of a text is the text that was written. A text in the place of a number is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite
from typing import NoReturn, Self, TypeVar

from gateway.config.yaml_lines import SpelledFloat, SpelledInt
from sessions.ports import Json, JsonObject

Default = TypeVar("Default")

_SWITCH_WORDS = {"on": True, "yes": True, "off": False, "no": False}
_MUST_BE_MAPPING = "must be a mapping of keys to values"
_MUST_BE_TEXT = "must be a text; put it in quotes"


class FieldProblem(ValueError):
    """A value in a file cannot be used; `field` is its path in the file, empty where the whole file is meant."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Entries:
    """The keys of one mapping of a file, and the mappings and lists under them."""

    def __init__(self, value: JsonObject, path: str = "", problem: type[FieldProblem] = FieldProblem) -> None:
        """`path` is the section's own path. Every refusal, here and in the sections within, raises a `problem`."""
        self.value = value
        self.path = path
        self._problem = problem

    @classmethod
    def of(
        cls,
        value: Json,
        path: str = "",
        problem: type[FieldProblem] = FieldProblem,
        message: str = _MUST_BE_MAPPING,
    ) -> Self:
        """A section of a mapping. Raises `problem` with `message` where `value` is none."""
        if not isinstance(value, Mapping):
            raise problem(path, message)
        return cls(value, path, problem)

    def path_of(self, key: str) -> str:
        """The path of a value in this section; of the section itself where `key` is empty."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def fail(self, key: str, message: str) -> NoReturn:
        """Refuse a value, or the whole section where `key` is empty."""
        raise self._problem(self.path_of(key), message)

    def only(
        self, known: Collection[str], to_come: Collection[str] = (), ignored: Collection[str] = frozenset()
    ) -> None:
        """Refuse every key that is not in `known`.

        The message about a key in `to_come` says that a later version will have it. Keys in `ignored` are accepted and
        have no meaning.
        """
        for key in self.value:
            if key in to_come:
                self.fail(key, "is not supported yet")
            if key not in known and key not in ignored:
                self.fail(key, f"is not known here; known are {', '.join(known)}")

    def has(self, key: str) -> bool:
        """Whether a key has a value other than null."""
        return self.value.get(key) is not None

    def require(self, key: str, advice: str) -> None:
        """Refuse the section where a key has no value; `advice` says what to write."""
        if not self.has(key):
            self.fail(key, f"is missing; {advice}")

    def section(self, key: str, message: str = _MUST_BE_MAPPING) -> Self:
        """The section under a key, which must be there."""
        return self.of(self.value.get(key), self.path_of(key), self._problem, message)

    def section_or_empty(self, key: str) -> Self:
        """The section under a key, which is empty where the key has no value."""
        return self.section(key) if self.has(key) else type(self)({}, self.path_of(key), self._problem)

    def members(self, key: str) -> dict[str, Self]:
        """The sections in the mapping under a key, by name."""
        holder = self.section_or_empty(key)
        return {name: holder.section(name) for name in holder.value}

    def items(self, key: str, message: str = "must be a list") -> list[Json]:
        """The list under a key."""
        value = self.value.get(key)
        if value is None:
            return []
        return value if isinstance(value, list) else self.fail(key, message)

    def sections(self, key: str) -> list[Self]:
        """The sections in the list under a key."""
        return [self.of(item, self.path_of(f"{key}[{at}]"), self._problem) for at, item in enumerate(self.items(key))]


class Section(Entries):
    """One mapping of a file that a person writes; it checks the keys and returns the values by type."""

    def text(self, key: str, default: Default) -> str | Default:
        """A text, which may be empty."""
        value = self.value.get(key)
        return default if value is None else self._text_of(value, key)

    def filled_text(self, key: str, default: Default) -> str | Default:
        """A text that is more than white space."""
        text = self.text(key, default)
        if isinstance(text, str) and self.has(key) and not text.strip():
            self.fail(key, "is empty; write something, or leave it out")
        return text

    def choice(self, key: str, allowed: Collection[str], default: str) -> str:
        """One of a few words."""
        value = self.value.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in allowed:
            self.fail(key, f"must be one of {', '.join(allowed)}")
        return value

    def flag(self, key: str, default: Default) -> bool | Default:
        """A switch: on, off, yes, no, true or false. It must not be null, since an empty switch may mean either."""
        if key not in self.value:
            return default
        value = self.value[key]
        if isinstance(value, str) and value.lower() in _SWITCH_WORDS:
            return _SWITCH_WORDS[value.lower()]
        return value if isinstance(value, bool) else self.fail(key, "must be on or off")

    def boolean(self, key: str, default: bool) -> bool:
        """A switch in JSON, which has no words for it: true or false."""
        value = self.value.get(key, default)
        return value if isinstance(value, bool) else self.fail(key, "must be true or false")

    def whole(self, key: str, least: int, most: int, default: Default) -> int | Default:
        """A whole number within bounds."""
        value = self.value.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"must be a whole number from {least} to {most}")
        return int(value) if least <= value <= most else self.fail(key, f"must be from {least} to {most}, not {value}")

    def number(self, key: str, least: float, most: float, default: Default, unit: str = "") -> float | Default:
        """A number within bounds; `unit` is for the message where the key does not name it."""
        value = self.value.get(key)
        if value is None:
            return default
        bounds, unit = f"from {_shown(least)} to {_shown(most)}", f" ({unit})" if unit else ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(key, f"must be a number {bounds}{unit}")
        if isinstance(value, float) and not isfinite(value):
            self.fail(key, f"must be a number {bounds}{unit}")
        if not least <= value <= most:
            self.fail(key, f"must be {bounds}, not {_shown(value)}{unit}")
        return float(value)

    def milliseconds(self, key: str, least: float, most: float, default: Default, unit_ms: int = 1000) -> int | Default:
        """A time in ms. The file gives it in units of `unit_ms`, by default in seconds, and so are the bounds."""
        number = self.number(key, least, most, None)
        return default if number is None else round(number * unit_ms)

    def texts(self, key: str, message: str = "must be a list of texts") -> list[str]:
        """The texts in the list under a key."""
        return [self._text_of(item, f"{key}[{at}]") for at, item in enumerate(self.items(key, message))]

    def names(self, key: str, message: str) -> list[str]:
        """The texts in the list under a key, none of them empty, and each only once."""
        names: dict[str, None] = {}
        for at, name in enumerate(self.texts(key, message)):
            if not name.strip():
                self.fail(f"{key}[{at}]", "is empty; write a name")
            if name in names:
                self.fail(f"{key}[{at}]", f"{name!r} stands in the list twice")
            names[name] = None
        return list(names)

    def texts_by_name(self, key: str) -> dict[str, str]:
        """The texts in the mapping under a key."""
        holder = self.section_or_empty(key)
        return {name: holder._text_of(value, name) for name, value in holder.value.items()}

    def _text_of(self, value: Json, key: str) -> str:
        if isinstance(value, SpelledInt | SpelledFloat):
            return value.spelling
        if isinstance(value, str):
            return value
        return self.fail(key, "must be a text" if isinstance(value, Mapping | list) else _MUST_BE_TEXT)


def plain(value: Json) -> Json:
    """A value of a YAML file without the spelling of its numbers, for code that accepts only Python's own types."""
    if isinstance(value, Mapping):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    if isinstance(value, SpelledInt):
        return int(value)
    return float(value) if isinstance(value, SpelledFloat) else value


def as_written(value: Json) -> Json:
    """A number or a boolean of a YAML file as the text that the environment would hold; else the plain value."""
    if isinstance(value, SpelledInt | SpelledFloat):
        return value.spelling
    return str(value).lower() if isinstance(value, bool) else plain(value)


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.15g}"
