"""What is known of a caller when the call begins: its number, the number that it called, the carrier's id and notes.

Nearly all values come from the far end, so they are bounded and cleaned before anything else sees them: they end up in
instructions, records and tools. The bounds on metadata are those of the `metadata` field of the OpenAI API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

MAX_NUMBER_CHARACTERS = 128  # a SIP address may stand where others have a telephone number
MAX_CALL_ID_CHARACTERS = 128
MAX_LANGUAGE_CHARACTERS = 35  # RFC 5646 (4.4.1) has no longer tags that are in use
MAX_METADATA = 16
MAX_NAME_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512


class Direction(StrEnum):
    """Who dialled: the caller (inbound) or this server (outbound)."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class CallerFacts(Mapping[str, str]):
    """Who calls, as far as the caller's protocol says; make one with `of`, which cleans the values.

    `carrier_call_id` is the call's name at the carrier, for questions to it and for its own API.
    `language` is a tag such as de-DE, which the settings give to the called number; the far end has no say in it.
    It is also a mapping of the two numbers, `number` and `called`, without those that are not known. Its repr leaves
    the caller's data out, so that it cannot reach a log.
    """

    number: str | None = field(repr=False)
    called: str | None = field(repr=False)
    direction: Direction
    metadata: Mapping[str, str] = field(repr=False)
    carrier_call_id: str | None = field(default=None, repr=False)
    language: str | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        number: object = None,
        called: object = None,
        direction: object = None,
        metadata: object = None,
        carrier_call_id: object = None,
        language: object = None,
    ) -> CallerFacts:
        """The facts from a far end's values, which may be anything.

        Unprintable characters are left out and long texts are cut. What is not a text, or is empty, is dropped. A
        direction that is not known counts as inbound. At most 16 entries of metadata are kept.
        """
        return cls(
            number=_cleaned(number, MAX_NUMBER_CHARACTERS) or None,
            called=_cleaned(called, MAX_NUMBER_CHARACTERS) or None,
            direction=Direction.OUTBOUND if direction == Direction.OUTBOUND else Direction.INBOUND,
            metadata=MappingProxyType(_metadata(metadata)),
            carrier_call_id=_cleaned(carrier_call_id, MAX_CALL_ID_CHARACTERS) or None,
            language=_cleaned(language, MAX_LANGUAGE_CHARACTERS) or None,
        )

    def __getitem__(self, name: str) -> str:
        """One of the numbers. Raises KeyError where it is not known."""
        return self._numbers()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers())

    def __len__(self) -> int:
        return len(self._numbers())

    def _numbers(self) -> dict[str, str]:
        numbers = {"number": self.number, "called": self.called}
        return {name: number for name, number in numbers.items() if number is not None}


def _cleaned(value: object, max_characters: int) -> str:
    """A text within its bound, empty for what is not a text."""
    if not isinstance(value, str):
        return ""
    # Line breaks, text direction marks and lone surrogates are not printable either.
    return "".join(character for character in value[:max_characters] if character.isprintable()).strip()


def _metadata(value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in value.items() if isinstance(value, Mapping) else ():
        short_name, short_text = _cleaned(name, MAX_NAME_CHARACTERS), _cleaned(text, MAX_VALUE_CHARACTERS)
        if short_name and short_text:
            found.setdefault(short_name, short_text)
        if len(found) == MAX_METADATA:
            break
    return found


UNKNOWN_CALLER = CallerFacts.of()
