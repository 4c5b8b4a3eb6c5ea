"""Reads the fields of documents and checks their types; a missing or wrong field raises a BadDocument that names it.

`names_in` and `in_words` name a document that cannot be read, and show no other value of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sessions.ports import Json, JsonObject
from sessions.stores.contract import BadDocument

NAME_MAX_CHARACTERS = 256  # of a name in a log; another program may have written a longer one


@dataclass(frozen=True, slots=True)
class Fields:
    """Reads one JSON object field by field; every method raises BadDocument."""

    values: JsonObject

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A string, or None if it is null or absent."""
        return None if self.values.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        """An integer."""
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number")
        return value

    def whole_or_none(self, name: str) -> int | None:
        """An integer, or None if it is null or absent."""
        return None if self.values.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A number, as float."""
        value = self.values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A number, or None if it is null or absent."""
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


def names_in(document: Mapping[str, object]) -> dict[str, str | None]:
    """What a log says of a document: `tenant`, `session_id` and `document` (its id). None for what is not a string."""
    found = {
        "tenant": document.get("tenant"),
        "session_id": document.get("session_id"),
        "document": document.get("id"),
    }
    return {name: text[:NAME_MAX_CHARACTERS] if isinstance(text, str) else None for name, text in found.items()}


def in_words(document: Mapping[str, object]) -> str:
    """The names of a document in words, for messages."""
    names = names_in(document)
    return f"document {names['document']!r} of session {names['session_id']!r} of tenant {names['tenant']!r}"


def boot_of(document: JsonObject) -> str | None:
    """The boot id of the instance that runs a session's call; None if the document names none."""
    owner = document.get("owner")
    boot = owner.get("boot") if isinstance(owner, Mapping) else None
    return boot if isinstance(boot, str) else None


def fence_of(document: JsonObject) -> int:
    """How often the session has been taken, plus one; documents of an older Patchbay have no fence and count as 1."""
    owner = document.get("owner")
    fence = owner.get("fence") if isinstance(owner, Mapping) else None
    return fence if isinstance(fence, int) and not isinstance(fence, bool) else 1


def owner_of(document: JsonObject) -> tuple[str | None, int]:
    """The boot id and the fence in a session's document: only the process with both may write the session."""
    return boot_of(document), fence_of(document)
