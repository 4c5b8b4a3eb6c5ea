"""The line in which requests for an answer wait until the conversation is free."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from sessions.events import ResponseRequest

MAX_WAITING = 16  # requests of a client; one that asks more often than that is answered with a refusal


class Origin(Enum):
    """Who wants the answer."""

    CLIENT = "client"
    TOOLS = "tools"  # the results of server-side tools are in
    GREETING = "greeting"
    RESUME = "resume"  # an answer was broken off, and is owed


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for an answer in the line, and the client's own name for it."""

    request: ResponseRequest
    origin: Origin
    client_event_id: str | None = None
    tries: int = 0  # that failed, other than by losing a race


class WishLine:
    """Keeps the wishes that were not asked for yet in order, ours before a client's, and a client's within bounds."""

    __slots__ = ("_wishes",)

    def __init__(self) -> None:
        self._wishes: deque[Wish] = deque()

    def __len__(self) -> int:
        return len(self._wishes)

    @property
    def head(self) -> Wish | None:
        """The wish that goes next."""
        return self._wishes[0] if self._wishes else None

    def add(self, wish: Wish) -> bool:
        """Put a wish in line; one of ours goes before a client's. False when the line is too full for a client's."""
        if wish.origin is not Origin.CLIENT:
            self._wishes.appendleft(wish)
        elif len(self._wishes) < MAX_WAITING:
            self._wishes.append(wish)
        else:
            return False
        return True

    def put_back(self, wish: Wish) -> None:
        """Return a wish that lost a race to the head of the line; one for tools' results is enough."""
        if wish.origin is not Origin.TOOLS or not self.has(Origin.TOOLS):
            self._wishes.appendleft(wish)

    def take(self) -> Wish:
        """Take the head out of the line, which must not be empty."""
        return self._wishes.popleft()

    def withdraw(self, origin: Origin) -> Wish | None:
        """Take back the last wish of this origin."""
        for wish in reversed(self._wishes):
            if wish.origin is origin:
                self._wishes.remove(wish)
                return wish
        return None

    def has(self, origin: Origin) -> bool:
        """Whether a wish of this origin is in line. One that was asked for already does not count."""
        return any(wish.origin is origin for wish in self._wishes)
