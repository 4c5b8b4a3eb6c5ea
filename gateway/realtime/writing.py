"""A message of ours as JSON, whatever words got into it."""

from __future__ import annotations

import orjson

from gateway.realtime.reading import mended
from sessions.ports import Json


def write_json(value: Json) -> bytes:
    """The bytes of a message; a lone half of a surrogate pair, which has no UTF-8, is U+FFFD in them."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(mended(value))
