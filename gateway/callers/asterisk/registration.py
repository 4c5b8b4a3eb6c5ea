"""The form with which an Asterisk dialplan announces a call: who calls, which number, on which channel.

It is the body of `POST /telephony/asterisk/calls`, as Asterisk's function `CURL()` sends it. Pure code.
Source: WHATWG URL, "application/x-www-form-urlencoded parsing".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding
from sessions.caller_facts import MAX_CALL_ID_CHARACTERS, MAX_NUMBER_CHARACTERS, CallerFacts
from sessions.errors import WireError

MAX_FIELDS = 16
MAX_BODY_BYTES = 8 * 1024
# The dialplan's names for what the media socket carries: those of Asterisk's codecs.
FORMATS: Mapping[str, AudioFormat] = {
    "ulaw": PCMU_8K,
    "alaw": PCMA_8K,
    "slin": PCM16_8K,
    "slin12": AudioFormat(Coding.PCM16, 12_000),
    "slin16": PCM16_16K,
    "slin24": PCM16_24K,
    "slin32": AudioFormat(Coding.PCM16, 32_000),
    "slin44": AudioFormat(Coding.PCM16, 44_100),
    "slin48": AudioFormat(Coding.PCM16, 48_000),
    "slin96": AudioFormat(Coding.PCM16, 96_000),
    "slin192": AudioFormat(Coding.PCM16, 192_000),
}
_LONGEST = {"caller": MAX_NUMBER_CHARACTERS, "called": MAX_NUMBER_CHARACTERS, "channel": MAX_CALL_ID_CHARACTERS}
_NAMES = (*_LONGEST, "media_id", "format")
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Registration:
    """What a dialplan has said of a call. `media_id` names the socket that the gateway has to dial, if it has to."""

    facts: CallerFacts
    media_id: str | None = field(default=None, repr=False)
    format: AudioFormat | None = None


def read_registration(body: bytes) -> Registration:
    """Read a form with `caller` (may be empty), `called` and `channel`, and perhaps `media_id` and `format`.

    Raises WireError, whose text repeats no value.
    """
    fields = _fields(body)
    for name in _LONGEST:
        if name not in fields:
            raise WireError(f"The form needs the field '{name}'.", code="missing_field", param=name)
    for name, longest in _LONGEST.items():
        if len(fields[name]) > longest:
            raise WireError(f"'{name}' holds more than {longest} characters.", param=name)
        if not fields[name].isprintable():
            raise WireError(f"'{name}' holds a character that cannot be printed.", param=name)
        if not fields[name].strip() and name != "caller":  # a caller may hide its number
            raise WireError(f"'{name}' is empty.", param=name)
    facts = CallerFacts.of(fields["caller"], fields["called"], carrier_call_id=fields["channel"])
    return Registration(facts, _media_id(fields.get("media_id")), _format(fields.get("format")))


def _fields(body: bytes) -> dict[str, str]:
    """The form's fields by name. Each is one of ours, and stands there once."""
    if len(body) > MAX_BODY_BYTES:
        raise WireError(f"The form is longer than {MAX_BODY_BYTES} bytes.", code="invalid_form")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:  # its own text may hold a part of the body
        raise WireError("The body is not a form in UTF-8.", code="invalid_form") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name not in _NAMES:
            raise WireError(f"The form has a field that is not known; known are {', '.join(_NAMES)}.")
        if name in fields:
            raise WireError(f"The form has the field '{name}' twice.", param=name)
        fields[name] = value
    return fields


def _media_id(value: str | None) -> str | None:
    if value is not None and not _MEDIA_ID.fullmatch(value):
        raise WireError("'media_id' is not the id of a media socket.", param="media_id")
    return value


def _format(value: str | None) -> AudioFormat | None:
    if value is None:
        return None
    if value not in FORMATS:
        raise WireError(f"'format' is not known; known are {', '.join(FORMATS)}.", param="format")
    return FORMATS[value]
