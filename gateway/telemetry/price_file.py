"""Reads a price list: the one that comes with the gateway, or one of the operator. `docs/prices.md` describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, TypeVar

from gateway.config.money import usd
from gateway.config.section import FieldProblem, Section
from gateway.config.value_file import FileProblem, decoded, read_file, yaml_file
from sessions.costs import ModelPrice, TranscriptionPrice
from sessions.money import NANO_PER_USD

OWN_FILE = Path(__file__).with_name("prices.yaml")
PROVIDERS = ("openai", "azure", "local", "scripted")
MOST_NANO = 1_000_000 * NANO_PER_USD
_DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_COMMON = ("provider", "model", "deployment", "source", "date")
_MODEL_KEYS = ("text", "audio", "image", "reasoning", "minute")
_UNBALANCED = "holds a square bracket without its partner; write a pattern such as gpt-[45]"
_TRANSCRIPTION_KEYS = ("text", "audio", "minute")

Price = TypeVar("Price", ModelPrice, TranscriptionPrice)


class PriceFileError(FileProblem):
    """A price list cannot be used. Reads `FILE:LINE: FIELD: WHY`."""


class Kind(StrEnum):
    """Says where Azure runs a deployment, on which its price depends."""

    GLOBAL = "global"
    DATAZONE = "datazone"
    REGIONAL = "regional"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an Azure deployment is: its model, and where it runs."""

    model: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Entry(Generic[Price]):
    """The prices of the models of one provider that fit one of the patterns; `kind` for Azure only."""

    provider: str
    patterns: tuple[str, ...]
    kind: Kind | None
    price: Price
    source: str
    date: str

    def fits(self, provider: str, model: str, kind: Kind | None) -> bool:
        """Whether these are the prices of this model."""
        if provider != self.provider or kind is not self.kind:
            return False
        return any(fnmatchcase(model, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class PriceFile:
    """The content of one price list."""

    version: str
    models: tuple[Entry[ModelPrice], ...]
    transcription: tuple[Entry[TranscriptionPrice], ...]
    deployments: Mapping[str, Deployment]


def read_price_file(path: Path) -> PriceFile:
    """Read one price list. Raises PriceFileError."""
    text = decoded(read_file(path, PriceFileError), path, PriceFileError)
    file = yaml_file(text, path, PriceFileError)
    with file.checking():
        top = Section.of(file.value, "", FieldProblem, "a price list holds keys and values, such as `version: mine-1`")
        top.only(("version", "models", "transcription", "deployments"))
        return PriceFile(
            version=_version(top),
            models=tuple(_entry(one, _MODEL_KEYS, _model_price) for one in top.sections("models")),
            transcription=tuple(
                _entry(one, _TRANSCRIPTION_KEYS, _transcription_price) for one in top.sections("transcription")
            ),
            deployments={name: _deployment(section) for name, section in top.members("deployments").items()},
        )


def _version(top: Section) -> str:
    top.require(
        "version", 'name this list, such as `version: "2026-12-01"`; records say by which list they were priced'
    )
    version = top.filled_text("version", "")
    if not _VERSION.fullmatch(version):
        top.fail("version", "must be letters, digits, ., _ and -, at most 40")
    return version


def _entry(section: Section, keys: tuple[str, ...], read: Callable[[Section], Price]) -> Entry[Price]:
    section.only((*_COMMON, *keys))
    section.require("provider", f"write one of {', '.join(PROVIDERS)}")
    provider = section.choice("provider", PROVIDERS, "")
    kind = _kind(section, "deployment")
    if provider == "azure" and kind is None:
        section.fail("deployment", f"is missing; write one of {', '.join(Kind)}")
    if provider != "azure" and kind is not None:
        section.fail("deployment", "belongs to azure; take it out")
    for key, advice in (
        ("model", "write a model's name or a pattern"),
        ("source", "write the address of the page with the prices"),
        ("date", "write the day on which the page had these prices, such as 2026-12-01"),
    ):
        section.require(key, advice)
    date = section.filled_text("date", "")
    if not _DATE.fullmatch(date):
        section.fail("date", "must be a day such as 2026-12-01")
    return Entry(provider, _patterns(section), kind, read(section), section.filled_text("source", ""), date)


def _patterns(section: Section) -> tuple[str, ...]:
    if not isinstance(section.value.get("model"), list):
        pattern = section.filled_text("model", "")
        return (pattern,) if _balanced(pattern) else section.fail("model", _UNBALANCED)
    patterns = section.names("model", "must be a name or a list of names")
    for at, pattern in enumerate(patterns):
        if not _balanced(pattern):
            section.fail(f"model[{at}]", _UNBALANCED)
    return tuple(patterns) if patterns else section.fail("model", "is an empty list; write a model's name")


def _balanced(pattern: str) -> bool:
    """Whether each bracket of a pattern has its partner; `fnmatch` takes one without it for a letter of the name."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "]":
            return False
        if pattern[at] == "[":
            first = at + 2 if pattern.startswith("!", at + 1) else at + 1
            at = pattern.find("]", first + 1)  # a bracket in first place is one of the letters
            if at < 0:
                return False
        at += 1
    return True


def _kind(section: Section, key: str) -> Kind | None:
    return Kind(section.choice(key, tuple(Kind), "")) if section.has(key) else None


def _deployment(section: Section) -> Deployment:
    section.only(("model", "kind"))
    section.require("model", "write the name of the model that is deployed, such as gpt-realtime-1.5")
    section.require("kind", f"write one of {', '.join(Kind)}")
    kind = _kind(section, "kind")
    assert kind is not None
    return Deployment(section.filled_text("model", ""), kind)


# ---- the prices of one entry


def _amount(section: Section, key: str) -> int | None:
    return usd(section, key, None, least_nano=0, most_nano=MOST_NANO)


def _model_price(section: Section) -> ModelPrice:
    text, audio, image, minute = (section.section_or_empty(key) for key in ("text", "audio", "image", "minute"))
    for spoken in (text, audio):
        spoken.only(("input", "cached", "output"))
    image.only(("input", "cached"))
    minute.only(("active", "standby"))
    return ModelPrice(
        text_input=_amount(text, "input"),
        text_cached=_amount(text, "cached"),
        text_output=_amount(text, "output"),
        audio_input=_amount(audio, "input"),
        audio_cached=_amount(audio, "cached"),
        audio_output=_amount(audio, "output"),
        image_input=_amount(image, "input"),
        image_cached=_amount(image, "cached"),
        reasoning=_amount(section, "reasoning"),
        active_minute=_amount(minute, "active"),
        standby_minute=_amount(minute, "standby"),
    )


def _transcription_price(section: Section) -> TranscriptionPrice:
    text, audio = section.section_or_empty("text"), section.section_or_empty("audio")
    text.only(("input", "output"))
    audio.only(("input",))
    return TranscriptionPrice(
        text_input=_amount(text, "input"),
        audio_input=_amount(audio, "input"),
        text_output=_amount(text, "output"),
        minute=_amount(section, "minute"),
    )
