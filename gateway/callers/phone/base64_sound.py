"""Sound as base64 in a text message."""

from __future__ import annotations

import binascii

import pybase64

from sessions.errors import WireError


def decode_sound(payload: str | bytes) -> bytes:
    """The bytes of a payload. Raises WireError, which repeats nothing of it."""
    try:
        return pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters outside ASCII
        raise WireError("The sound is not base64.", code="invalid_sound") from error
