"""The order of responses: at most one writes to the conversation, or has been requested, at a time.

The model may also begin one by itself, when it hears the caller stop. A request can cross that one on the way and be
refused; it is then queued again in front of all others.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.pending_responses import Origin, PendingResponse, ResponseBacklog
from sessions.ports import JsonObject

# The leg is taken for dead if a request has neither begun nor been refused by then.
ASKED_LIMIT_MS = 15_000


@dataclass(frozen=True, slots=True)
class ActiveResponse:
    """The response that writes to the conversation now. `pending` is None if the model began it by itself."""

    response_id: str
    pending: PendingResponse | None
    metadata: JsonObject | None


class ResponseQueue:
    """Lets at most one response of the conversation be requested or run; the other requests wait."""

    def __init__(self) -> None:
        self.waiting = ResponseBacklog()
        self.active: ActiveResponse | None = None
        self.asked: PendingResponse | None = None
        self.asked_ms = 0  # when the last request was sent
        self._asked_until_ms = 0
        self._paused_until_ms: int | None = None
        # The last request that seemed to have begun a response which is over by now; its refusal may still come.
        self._crossed: PendingResponse | None = None

    @property
    def busy(self) -> bool:
        """Whether a response runs or has been requested."""
        return self.active is not None or self.asked is not None

    @property
    def deadline_ms(self) -> int | None:
        """When to stop waiting for a request to begin, or when to send the next one."""
        return self._asked_until_ms if self.asked is not None else self._paused_until_ms

    def client_sees_one(self) -> bool:
        """Whether the client knows that a response is under way: it saw it begin, or has requested it."""
        if self.active is not None:
            return True
        return self.asked is not None and self.asked.origin is Origin.CLIENT

    def ask_next(self, now_ms: int) -> PendingResponse | None:
        """Take the request that is to be sent now; None if there is none or the conversation is not free."""
        if self.busy or not self.waiting or (self._paused_until_ms is not None and now_ms < self._paused_until_ms):
            return None
        self._paused_until_ms = None
        self.asked = self.waiting.take()
        self.asked_ms = now_ms
        self._asked_until_ms = now_ms + ASKED_LIMIT_MS
        return self.asked

    def started(self, response_id: str, metadata: JsonObject | None = None) -> PendingResponse | None:
        """A response of the conversation has begun. Returns the request that it answers, as far as is known."""
        pending, self.asked = self.asked, None
        self.active = ActiveResponse(response_id, pending, metadata)
        self._paused_until_ms = None
        return pending

    def ended(self, response_id: str) -> ActiveResponse | None:
        """A response is over. Returns it if it was the one that wrote to the conversation."""
        active = self.active
        if active is None or active.response_id != response_id:
            return None
        self.active = None
        self._crossed = active.pending or self._crossed
        return active

    def refused(self, request_id: str) -> tuple[PendingResponse, bool] | None:
        """The model has refused a request. Returns it, and whether it crossed a response of the model's own.

        None if the id is that of no request which has been sent and whose response is not over.
        """
        if self.asked is not None and self.asked.request.request_id == request_id:
            pending, self.asked = self.asked, None
            return pending, self.active is not None
        active = self.active
        if active is not None and active.pending is not None and active.pending.request.request_id == request_id:
            # The model had begun this response by itself, and the request crossed it.
            self.active = ActiveResponse(active.response_id, None, active.metadata)
            return active.pending, True
        if self._crossed is not None and self._crossed.request.request_id == request_id:
            pending, self._crossed = self._crossed, None
            return pending, True
        return None

    @property
    def latest_asked(self) -> str | None:
        """The id of the request that was sent last, unless its response is over."""
        pending = self.asked or (self.active.pending if self.active is not None else None)
        return pending.request.request_id if pending is not None else None

    def pause(self, until_ms: int) -> None:
        """Send no request until then, unless a response begins."""
        self._paused_until_ms = until_ms

    def overdue(self, now_ms: int) -> bool:
        """Whether a request has neither begun nor been refused for too long. Ends a pause that is over."""
        if self._paused_until_ms is not None and now_ms >= self._paused_until_ms:
            self._paused_until_ms = None
        return self.asked is not None and now_ms >= self._asked_until_ms

    def leg_lost(self) -> PendingResponse | None:
        """The model's leg is lost, and what ran on it. Returns the request that was sent and had not begun."""
        pending, self.asked = self.asked, None
        self.active = self._crossed = self._paused_until_ms = None
        return pending
