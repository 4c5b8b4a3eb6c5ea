"""The way out of a server: every event gets its own id here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from sessions.ports import Ids

Fields = ParamSpec("Fields")


class Outlet:
    """Numbers the server's events and hands them out."""

    def __init__(self, ids: Ids, emit: Callable[[bytes], None]) -> None:
        self._ids = ids
        self._emit = emit

    def new_id(self, prefix: str) -> str:
        """A fresh id for an item, a response, a call."""
        return self._ids.new(prefix)

    def send(
        self, build: Callable[Concatenate[str, Fields], bytes], *args: Fields.args, **fields: Fields.kwargs
    ) -> None:
        """Build one event with a fresh event id, and emit it."""
        self._emit(build(self._ids.new("event"), *args, **fields))
