"""Serialises our messages as JSON, also where a string has lone surrogates."""

from __future__ import annotations

import orjson

from gateway.realtime.reading import replace_lone_surrogates
from sessions.ports import Json


def write_json(value: Json) -> bytes:
    """Serialise a message; lone surrogates, which have no UTF-8, become U+FFFD."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(replace_lone_surrogates(value))
