"""The setting `numbers`: which agent answers a call, and in which language, by the number that was called."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import ConfigDict, Field, RootModel, field_validator, model_validator

from gateway.config.values import Table, parts
from sessions.caller_facts import MAX_LANGUAGE_CHARACTERS

ANY = "*"
_SIGNS = re.compile(r"[\s()\[\]\u2010-\u2015-]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_FORM = f"write NUMBER=AGENT, separated by commas; {ANY} stands for every other number"


class NumberRoute(Table):
    """Where calls to one number go."""

    agent: str = Field(min_length=1)
    language: str | None = Field(
        default=None,
        max_length=MAX_LANGUAGE_CHARACTERS,
        description="a language tag such as de-DE; None: as the agent says",
    )

    @model_validator(mode="before")
    @classmethod
    def _agent_alone(cls, value: object) -> object:
        if isinstance(value, str):
            return {"agent": value}
        if not isinstance(value, Mapping | NumberRoute):
            raise ValueError("must be an agent's name, or hold agent and language; put quotes round a name of digits")
        return value

    @field_validator("language")
    @classmethod
    def _is_tag(cls, value: str | None) -> str | None:
        if value is not None and not _LANGUAGE.fullmatch(value):
            raise ValueError("must be a language tag, such as de or en-GB")
        return value


class Numbers(RootModel[dict[str, NumberRoute]]):
    """The agent for each called number; its `repr` shows no number."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    root: dict[str, NumberRoute] = {}

    @field_validator("root", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found: dict[str, str] = {}
        for place, entry in enumerate(parts(value), start=1):
            number, _, agent = (part.strip() for part in entry.partition("="))
            if not number or not agent:
                raise ValueError(f"entry {place}: {_FORM}")
            if number in found:
                raise ValueError(f"entry {place}: the same number stands before it; remove one")
            found[number] = agent
        return found

    @field_validator("root")
    @classmethod
    def _comparable(cls, value: dict[str, NumberRoute]) -> dict[str, NumberRoute]:
        found: dict[str, NumberRoute] = {}
        for number, route in value.items():
            plain = plain_number(number)
            if not plain:
                raise ValueError(f"holds a number without a sign in it; write a number, an extension or {ANY}")
            if plain in found:
                raise ValueError(
                    "holds the same number twice, written with other spaces, dashes or brackets; remove one"
                )
            found[plain] = route
        return found

    def __repr__(self) -> str:
        return f"Numbers({len(self.root)})"

    __str__ = __repr__

    def agent_for(self, called: str | None) -> NumberRoute | None:
        """Where a call to this number goes; None where no number leads to an agent.

        The number itself is looked up first, without spaces, dashes and brackets, then `*`. A call whose called number
        is not known goes where `*` leads.
        """
        found = self.root.get(plain_number(called)) if called else None
        return found or self.root.get(ANY)

    def number_of(self, agent: str) -> str | None:
        """A number that leads to an agent, `*` only where there is no other; None where none does."""
        found = [number for number, route in self.root.items() if route.agent == agent]
        return min(found, key=lambda number: number == ANY, default=None)

    @property
    def agents(self) -> frozenset[str]:
        """The names of all agents to which a number leads."""
        return frozenset(route.agent for route in self.root.values())


def plain_number(number: str) -> str:
    """A number as numbers are compared: without spaces, dashes and brackets, and with small letters."""
    return _SIGNS.sub("", number).casefold()
