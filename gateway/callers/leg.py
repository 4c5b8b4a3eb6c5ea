"""What every caller's leg offers to the call that it belongs to, whatever its protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.lane import Lane, SoundSource
from sessions.commands import CallerCommand


class CallerLeg(Protocol):
    """A caller's connection; synchronous, as sound must not wait."""

    lane: Lane  # is offered the caller's sound before the leg reads it

    def do(self, command: CallerCommand) -> None:
        """Carry a command out: write it to the socket at once."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket code, or what the protocol has for it. Harmless when it is closed."""
        ...

    def source(self) -> SoundSource | None:
        """The caller's sound as the next messages bring it, for the lane; None where it is to be read one by one."""
        ...

    def straight(self, response_id: str) -> Callable[[bytes], None] | None:
        """Where a model's messages with speech of this response can be written as they are, until the next command."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the far end has not taken yet."""
        ...
