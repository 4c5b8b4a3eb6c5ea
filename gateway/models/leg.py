"""What every model's leg offers to the call, whatever its vendor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from audio.runs import FrameRun
from gateway.lane import Lane, SoundSource
from sessions.commands import ModelCommand
from sessions.events import ModelEvent
from sessions.setup import ModelSetup


class ModelLeg(Protocol):
    """An open connection to a model; synchronous, as sound must not wait."""

    lane: Lane  # is offered the leg's sound before the leg reads it, while the leg is open

    def send(self, command: ModelCommand) -> None:
        """Carry a command out: write it to the socket at once."""
        ...

    def close(self) -> None:
        """Close the connection; no event comes after this. Harmless when it is closed."""
        ...

    def straight(self) -> Callable[[bytes], None] | None:
        """Where a caller's messages can be written as they are, until the next event; None where they cannot."""
        ...

    def went(self, run: FrameRun) -> None:
        """Caller's sound was written straight."""
        ...

    def source(self, response_id: str, item_id: str) -> SoundSource | None:
        """The speech of an item as the next messages bring it, for the lane; None where it is to be read one by one."""
        ...

    @property
    def dropped_ms(self) -> int:
        """Caller sound that a slow connection has cost so far."""
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
        """Open a leg; `attempt` counts a call's dials from 0. Raises LegLost.

        `deliver` gets the events in order and never while it is still busy with one, `ModelReady` once the session is
        set up, and `ModelLost` once when the connection ends. `fault` gets what our own code raises.
        """
        ...
