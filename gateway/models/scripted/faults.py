"""Faults in the scripted model's messages: duplicated, reordered, lost and late ones."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.models.scripted.shape import NO_FAULTS, Faults
from gateway.realtime import server_events
from sessions.ports import Ids


@dataclass(slots=True)
class _Armed:
    """The faults of one answer that have not happened yet."""

    faults: Faults
    last_delta: dict[str, Any] | None = None


class FaultyWire:
    """Passes a server's messages to its socket, and puts the faults of the script into them."""

    def __init__(self, emit: Callable[[bytes], None], ids: Ids) -> None:
        self._emit = emit
        self._ids = ids
        self._armed: dict[str, _Armed] = {}
        self._swapped: bytes | None = None  # a message that goes out after the next one
        self._late: list[tuple[int, int, bytes]] = []  # a heap of due time, sequence number and message
        self._held = 0
        self._cut = False
        self.now_ms = 0

    @property
    def deadline_ms(self) -> int | None:
        """When the next late message is due; None if there is none."""
        return self._late[0][0] if self._late else None

    def arm(self, response_id: str, faults: Faults) -> None:
        """Put these faults into the messages of this answer from now on."""
        if faults != NO_FAULTS:
            self._armed[response_id] = _Armed(faults)

    def cut(self) -> None:
        """Send nothing any more: the connection is cut."""
        self._cut = True
        self._late.clear()

    def on_time(self, now_ms: int) -> None:
        """Send the late messages that are due."""
        self.now_ms = now_ms
        due = []
        while self._late and self._late[0][0] <= now_ms:
            due.append(heapq.heappop(self._late)[2])
        for text in due:
            self._out(text)

    def error(self, code: str, message: str) -> None:
        """Send an error event that is about no client event."""
        self.emit(server_events.error(self._ids.new("event"), message, code=code, type="server_error"))

    def emit(self, text: bytes) -> None:
        """Send one message of the server, with the faults of its answer."""
        if not self._armed:
            self._out(text)
            return
        event = orjson.loads(text)
        response_id = event.get("response_id") or event.get("response", {}).get("id")
        armed = self._armed.get(response_id)
        if armed is None:
            self._out(text)
        else:
            self._emit_with_faults(armed, event, text)
            if event["type"] == "response.done":
                self._armed.pop(response_id, None)

    def _emit_with_faults(self, armed: _Armed, event: dict[str, Any], text: bytes) -> None:
        kind, faults = event["type"], armed.faults
        if kind == "response.output_audio.delta":
            armed.last_delta = event
        if kind == faults.lose:
            return
        if kind == faults.reorder:
            armed.faults = replace(faults, reorder=None)
            self._swapped = text
            return
        if kind == "response.done" and faults.done_late_ms:
            self._held += 1
            heapq.heappush(self._late, (self.now_ms + faults.done_late_ms, self._held, text))
        else:
            self._out(text)
        if kind == faults.duplicate:
            armed.faults = replace(faults, duplicate=None)
            self._out(text)
        if kind == "response.done" and armed.last_delta is not None:
            for _ in range(faults.late_audio):
                self._out(orjson.dumps({**armed.last_delta, "event_id": self._ids.new("event")}))

    def _out(self, text: bytes) -> None:
        if self._cut:
            return
        self._emit(text)
        if self._swapped is not None:
            swapped, self._swapped = self._swapped, None
            self._emit(swapped)
