"""One response at a time: requests for an answer wait here until the conversation is free.

The model may also start one by itself, when it hears the caller stop. A request of ours can cross it on the way and be
refused; it then goes back to the head of the queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from sessions.events import ResponseRequest
from sessions.ports import JsonObject

MAX_WAITING = 16  # requests of a client; one that asks more often than that is answered with a refusal
ASKED_LIMIT_MS = 15_000  # a request that is neither begun nor refused by then shows that the leg is dead


class Origin(Enum):
    """Who wants the answer."""

    CLIENT = "client"
    TOOLS = "tools"  # the results of server-side tools are in
    GREETING = "greeting"
    RESUME = "resume"  # an answer was broken off, and is owed


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for an answer in the queue, and the client's own name for it."""

    request: ResponseRequest
    origin: Origin
    client_event_id: str | None = None
    tries: int = 0  # that failed, other than by losing a race


@dataclass(frozen=True, slots=True)
class ActiveResponse:
    """The response that writes to the conversation now. `wish` is None when the model began by itself."""

    response_id: str
    wish: Wish | None
    metadata: JsonObject | None


class ResponseQueue:
    """Keeps the conversation's responses apart: at most one asked for or running, the rest in line."""

    def __init__(self) -> None:
        self.active: ActiveResponse | None = None
        self.asked: Wish | None = None
        self._asked_until_ms = 0
        self._paused_until_ms: int | None = None
        self._waiting: deque[Wish] = deque()
        self._crossed: Wish | None = None  # the last that was taken for the reason of a response that is over

    @property
    def busy(self) -> bool:
        """Something is running or has been asked for."""
        return self.active is not None or self.asked is not None

    @property
    def waiting(self) -> int:
        """How many requests stand in line."""
        return len(self._waiting)

    @property
    def head(self) -> Wish | None:
        """The request that goes next."""
        return self._waiting[0] if self._waiting else None

    @property
    def deadline_ms(self) -> int | None:
        """When to stop waiting for the answer to a request, or when to ask again."""
        return self._asked_until_ms if self.asked is not None else self._paused_until_ms

    def client_sees_one(self) -> bool:
        """Whether the client has reason to know that a response is under way: it saw it start, or asked for it."""
        if self.active is not None:
            return True
        return self.asked is not None and self.asked.origin is Origin.CLIENT

    def wish(self, wish: Wish) -> bool:
        """Put a request in line; one of ours goes before a client's. False when the line is too full for a client's."""
        if wish.origin is not Origin.CLIENT:
            self._waiting.appendleft(wish)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(wish)
        else:
            return False
        return True

    def ask_next(self, now_ms: int) -> Wish | None:
        """Take the next request, to be sent now; None if there is none or the conversation is not free."""
        if self.busy or not self._waiting or (self._paused_until_ms is not None and now_ms < self._paused_until_ms):
            return None
        self._paused_until_ms = None
        self.asked = self._waiting.popleft()
        self._asked_until_ms = now_ms + ASKED_LIMIT_MS
        return self.asked

    def started(self, response_id: str, metadata: JsonObject | None = None) -> Wish | None:
        """A response began in the conversation. Returns the request it answers, as far as one can tell."""
        wish, self.asked = self.asked, None
        self.active = ActiveResponse(response_id, wish, metadata)
        self._paused_until_ms = None
        return wish

    def ended(self, response_id: str) -> ActiveResponse | None:
        """A response is over. Returns it if it was the conversation's."""
        active = self.active
        if active is None or active.response_id != response_id:
            return None
        self.active = None
        self._crossed = active.wish or self._crossed
        return active

    def refused(self, request_id: str) -> tuple[Wish, bool] | None:
        """The model refused this request; the conversation is then free of it.

        Returns it, and whether it crossed a response of the model's own; None if it is not one of ours.
        """
        if self.asked is not None and self.asked.request.request_id == request_id:
            wish, self.asked = self.asked, None
            return wish, self.active is not None
        active = self.active
        if active is not None and active.wish is not None and active.wish.request.request_id == request_id:
            # What started was the model's own idea, and crossed our request.
            self.active = ActiveResponse(active.response_id, None, active.metadata)
            return active.wish, True
        if self._crossed is not None and self._crossed.request.request_id == request_id:
            wish, self._crossed = self._crossed, None
            return wish, True
        return None

    @property
    def latest_asked(self) -> str | None:
        """The id of the request that was sent last, unless what it asked for is over."""
        wish = self.asked or (self.active.wish if self.active is not None else None)
        return wish.request.request_id if wish is not None else None

    def put_back(self, wish: Wish) -> None:
        """Return a request that lost a race to the head of the line; one for tools' results is enough."""
        if wish.origin is not Origin.TOOLS or not self.waits(Origin.TOOLS):
            self._waiting.appendleft(wish)

    def pause(self, until_ms: int) -> None:
        """Ask for nothing until then, unless a response begins."""
        self._paused_until_ms = until_ms

    def withdraw(self, origin: Origin) -> Wish | None:
        """Take back the last waiting request of this origin."""
        for wish in reversed(self._waiting):
            if wish.origin is origin:
                self._waiting.remove(wish)
                return wish
        return None

    def waits(self, origin: Origin) -> bool:
        """Whether a request of this origin is in line. One that was asked for already does not count."""
        return any(wish.origin is origin for wish in self._waiting)

    def overdue(self, now_ms: int) -> bool:
        """Whether a request has been without any answer for too long. Ends a pause that is over."""
        if self._paused_until_ms is not None and now_ms >= self._paused_until_ms:
            self._paused_until_ms = None
        return self.asked is not None and now_ms >= self._asked_until_ms

    def leg_lost(self) -> Wish | None:
        """The model's leg is gone, and what ran on it. Returns the request that was asked for but not begun."""
        wish, self.asked = self.asked, None
        self.active = self._crossed = self._paused_until_ms = None
        return wish
