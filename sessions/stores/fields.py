"""Reading documents with their types checked: a wrong or missing field is a BadDocument that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sessions.ports import Json, JsonObject
from sessions.stores.contract import BadDocument


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object, read field by field."""

    values: JsonObject

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A string, or None where it is null or absent."""
        return None if self.values.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        """An integer."""
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number")
        return value

    def whole_or_none(self, name: str) -> int | None:
        """An integer, or None where it is null or absent."""
        return None if self.values.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A number, as float."""
        value = self.values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A number, or None where it is null or absent."""
        return None if self.values.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def object(self, name: str) -> Fields:
        """A nested object."""
        value = self.values.get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "an object")
        return Fields(value)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects."""
        found = self._list(name)
        if not all(isinstance(entry, Mapping) for entry in found):
            raise self._wrong(name, "a list of objects")
        return [Fields(entry) for entry in found if isinstance(entry, Mapping)]

    def wholes(self, name: str) -> list[int]:
        """A list of integers."""
        found = self._list(name)
        if not all(isinstance(entry, int) and not isinstance(entry, bool) for entry in found):
            raise self._wrong(name, "a list of whole numbers")
        return [entry for entry in found if isinstance(entry, int)]

    def _list(self, name: str) -> Sequence[Json]:
        value = self.values.get(name)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self._wrong(name, "a list")
        return value

    def _wrong(self, name: str, wanted: str) -> BadDocument:
        kind = self.values.get("type")
        return BadDocument(f"field {name!r} of a document of type {kind!r} is not {wanted}")
