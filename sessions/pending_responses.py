"""Requests for a response that wait until the conversation is free."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from sessions.values import ResponseRequest

MAX_WAITING = 16  # requests of a client; further ones are refused


class Origin(Enum):
    """Who wants the response."""

    CLIENT = "client"
    TOOLS = "tools"  # all results of server-side tools are there
    KEYS = "keys"  # the caller has pressed keys
    GREETING = "greeting"
    BUDGET = "budget"  # the goodbye of a call whose budget is used up
    RESUME = "resume"  # an answer was lost with its leg, or the model may not give one by itself


@dataclass(frozen=True, slots=True)
class PendingResponse:
    """A request that waits, or was sent and has not begun."""

    request: ResponseRequest
    origin: Origin
    client_event_id: str | None = None
    tries: int = 0  # tries that failed for another reason than a race


class ResponseBacklog:
    """Keeps requests in the order of sending: the gateway's first, then a bounded number of a client's."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: deque[PendingResponse] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def head(self) -> PendingResponse | None:
        """The request that is sent next."""
        return self._pending[0] if self._pending else None

    def add(self, pending: PendingResponse) -> bool:
        """Queue a request, one of the gateway's in front. False if there are too many of a client's."""
        if pending.origin is not Origin.CLIENT:
            self._pending.appendleft(pending)
        elif len(self._pending) < MAX_WAITING:
            self._pending.append(pending)
        else:
            return False
        return True

    def put_back(self, pending: PendingResponse) -> None:
        """Queue a request in front again that has lost a race. One request for results of tools, or keys, is enough."""
        if pending.origin not in (Origin.TOOLS, Origin.KEYS) or not self.has(pending.origin):
            self._pending.appendleft(pending)

    def take(self) -> PendingResponse:
        """Take the first request out; there must be one."""
        return self._pending.popleft()

    def withdraw(self, origin: Origin) -> PendingResponse | None:
        """Take the last request of this origin out."""
        for pending in reversed(self._pending):
            if pending.origin is origin:
                self._pending.remove(pending)
                return pending
        return None

    def has(self, origin: Origin) -> bool:
        """Whether a request of this origin waits; one that was sent already does not count."""
        return any(pending.origin is origin for pending in self._pending)
