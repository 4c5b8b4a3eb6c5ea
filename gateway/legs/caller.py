"""What a call requires of every caller's leg, whatever protocol the leg speaks."""

from __future__ import annotations

from typing import Protocol

from audio.playout import PlayOut
from sessions.commands import CallerCommand


class CallerLeg(Protocol):
    """A caller's connection; all methods return at once, because sound must not wait.

    A leg hands its events to the call from its socket's callbacks, never from within `do` or `close`. It may also offer
    a fast path, as an attribute `fast_path` that holds a `FastPathEnd`; a call with a leg that has none works the same.
    A leg that paces speech itself offers its `PlayOut` as an attribute `play_out`, which tells the call what has left.
    """

    def do(self, command: CallerCommand) -> None:
        """Carry a command out: write it to the socket at once."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket close code, or its equivalent. Harmless on a closed connection."""
        ...

    @property
    def overfull(self) -> bool:
        """Whether more speech waits to be sent than the leg allows, in ms of sound: the call then cancels it."""
        ...


def play_out_of(leg: object) -> PlayOut | None:
    """The play-out of a leg; None where the far end gets speech as the model sends it."""
    play_out = getattr(leg, "play_out", None)
    return play_out if isinstance(play_out, PlayOut) else None
