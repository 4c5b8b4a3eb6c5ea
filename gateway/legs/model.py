"""What a call requires of every model's leg, whatever the vendor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from sessions.commands import ModelCommand
from sessions.events import ModelEvent
from sessions.setup import ModelSetup


@runtime_checkable
class ModelLeg(Protocol):
    """An open connection to a model; all methods return at once, because sound must not wait.

    It may also offer a fast path, as an attribute `fast_path` that holds a `FastPathEnd`; a call with a leg that has
    none works the same. A leg that drops caller sound on a slow connection says how much in `dropped_ms` (milliseconds
    of sound), which is read once, after `close`.
    """

    def send(self, command: ModelCommand) -> None:
        """Carry a command out: write it to the socket at once. Does nothing on a closed connection."""
        ...

    def close(self) -> None:
        """Close the connection; no event is delivered after this. Harmless on a closed connection."""
        ...


class ModelConnector(Protocol):
    """Opens legs to one agent's model."""

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        """Open a leg; `attempt` counts the dials of one call from 0. Raises LegLost.

        `deliver` gets the events in order: `ModelReady` once the session is set up, and one `ModelLost` when the
        connection ends, as the last event. It is called from callbacks of the loop, and never from within `send` or
        `close`. `fault` gets what the gateway's own code raises in such a callback.
        """
        ...
