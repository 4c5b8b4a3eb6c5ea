"""Hands the lines of the log to the link, from any thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from gateway.logs import Foreign, fields_of
from gateway.telemetry.spans.policy import Shape

# What another program has printed, such as an MCP server that tells of its key as it starts. It stays in our own log.
_OTHERS_WORDS = frozenset({"line"})


class LinkHandler(logging.Handler):
    """Gives each line that standard error gets to `take`, in the loop's thread."""

    def __init__(
        self, take: Callable[[Mapping[str, Any]], None], loop: asyncio.AbstractEventLoop, shape: Shape = Shape.TURN
    ) -> None:
        """`shape` is that of the traces of calls."""
        super().__init__()
        self._take = take
        self._loop = loop
        self._shape = shape
        self._thread = threading.get_ident()
        self.addFilter(Foreign())

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one line. Its words are known to be free of what callers said, like every log line's."""
        try:
            fields = {
                name: value for name, value in fields_of(record, self._shape).items() if name not in _OTHERS_WORDS
            }
            if threading.get_ident() == self._thread:
                self._take(fields)
            else:
                self._loop.call_soon_threadsafe(self._take, fields)
        except RuntimeError:  # the loop is closed: the process ends
            return
