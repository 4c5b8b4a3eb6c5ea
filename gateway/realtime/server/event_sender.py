"""Sends a Realtime server's events, each with a new event id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from sessions.ports import Ids

Fields = ParamSpec("Fields")


class EventSender:
    """Gives each of the server's events a new id, and emits it."""

    def __init__(self, ids: Ids, emit: Callable[[bytes], None]) -> None:
        self._ids = ids
        self._emit = emit

    def new_id(self, prefix: str) -> str:
        """A new id for an item, a response or a call."""
        return self._ids.new(prefix)

    def send(
        self, build: Callable[Concatenate[str, Fields], bytes], *args: Fields.args, **fields: Fields.kwargs
    ) -> None:
        """Build one event with a new event id, and emit it."""
        self._emit(build(self._ids.new("event"), *args, **fields))
