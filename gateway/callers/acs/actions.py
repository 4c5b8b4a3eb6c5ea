"""What is asked of Azure Communication Services about a call: to answer it, to refuse it, to end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sessions.errors import VoiceError


class ActionFailed(VoiceError):
    """An action was refused, or was not answered in time.

    `kind` is the error's class and `status` its HTTP status, if there was an answer. The service's own words are not
    kept, because they may hold a number.
    """

    def __init__(self, kind: str, status: int | None = None) -> None:
        super().__init__(f"the action failed: {kind}" + ("" if status is None else f", status {status}"))
        self.kind = kind
        self.status = status


class Turndown(StrEnum):
    """Why a call is refused before it is answered; the caller hears a busy tone or an announcement."""

    BUSY = "busy"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Answering:
    """How a call is to be answered: with its context, and addresses that hold a key and a ticket. All are secrets."""

    context: str = field(repr=False)
    callback_url: str = field(repr=False)
    media_url: str = field(repr=False)


class Actions(Protocol):
    """The actions, each bounded in time. They raise ActionFailed."""

    async def open(self) -> None:
        """Load what the actions need, so that no call waits for it. Raises whatever a missing part raises."""
        ...

    async def answer(self, answering: Answering) -> str | None:
        """Answer a call that rings. Returns its connection id, if the service has told it."""
        ...

    async def turn_down(self, context: str, why: Turndown) -> None:
        """Refuse a call that rings."""
        ...

    async def hang_up(self, connection_id: str) -> None:
        """End a call for everybody in it."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
