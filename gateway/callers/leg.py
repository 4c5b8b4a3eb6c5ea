"""What every caller's leg offers to the call that it belongs to, whatever its protocol."""

from __future__ import annotations

from typing import Protocol

from sessions.commands import CallerCommand


class CallerLeg(Protocol):
    """A caller's connection; synchronous, as sound must not wait."""

    def do(self, command: CallerCommand) -> None:
        """Carry a command out: write it to the socket at once."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket code, or what the protocol has for it. Harmless when it is closed."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the far end has not taken yet."""
        ...
