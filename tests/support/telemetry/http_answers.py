"""Answers of receivers in memory, which are read as those that come over a network are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson


class Body(httpx2.AsyncByteStream):
    """A body that comes at once."""

    def __init__(self, payload: bytes = b"") -> None:
        self._payload = payload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._payload


def answered(status: int, body: Any = None, *, text: str = "") -> httpx2.Response:
    """An answer with JSON, or with a text."""
    return httpx2.Response(status, stream=Body(text.encode() if body is None else orjson.dumps(body)))
