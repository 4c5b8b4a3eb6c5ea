"""One response at a time: which one writes to the conversation, and which one was asked for.

The model may also start one by itself, when it hears the caller stop. A request of ours can cross it on the way and be
refused; it then goes back to the head of the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.ports import JsonObject
from sessions.wishes import Origin, Wish, WishLine

ASKED_LIMIT_MS = 15_000  # a request that is neither begun nor refused by then shows that the leg is dead


@dataclass(frozen=True, slots=True)
class ActiveResponse:
    """The response that writes to the conversation now. `wish` is None when the model began by itself."""

    response_id: str
    wish: Wish | None
    metadata: JsonObject | None


class ResponseQueue:
    """Keeps the conversation's responses apart: at most one asked for or running, the rest in line."""

    def __init__(self) -> None:
        self.waiting = WishLine()
        self.active: ActiveResponse | None = None
        self.asked: Wish | None = None
        self._asked_until_ms = 0
        self._paused_until_ms: int | None = None
        self._crossed: Wish | None = None  # the last that was taken for the reason of a response that is over

    @property
    def busy(self) -> bool:
        """Something is running or has been asked for."""
        return self.active is not None or self.asked is not None

    @property
    def deadline_ms(self) -> int | None:
        """When to stop waiting for the answer to a request, or when to ask again."""
        return self._asked_until_ms if self.asked is not None else self._paused_until_ms

    def client_sees_one(self) -> bool:
        """Whether the client has reason to know that a response is under way: it saw it start, or asked for it."""
        if self.active is not None:
            return True
        return self.asked is not None and self.asked.origin is Origin.CLIENT

    def ask_next(self, now_ms: int) -> Wish | None:
        """Take the next request, to be sent now; None if there is none or the conversation is not free."""
        if self.busy or not self.waiting or (self._paused_until_ms is not None and now_ms < self._paused_until_ms):
            return None
        self._paused_until_ms = None
        self.asked = self.waiting.take()
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

    def pause(self, until_ms: int) -> None:
        """Ask for nothing until then, unless a response begins."""
        self._paused_until_ms = until_ms

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
