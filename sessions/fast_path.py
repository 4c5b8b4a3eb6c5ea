"""The rules of the fast path: which sound may pass the call by, what the call notes of it, and when it must know.

Sound on the fast path goes from leg to leg at once, and the call takes it later, in runs. So before each event one
question is to be answered: does what happens now depend on sound that still waits? `waits_for_sound` and
`commands_wait_for_sound` answer it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from audio.departures import Echo, PlayedOut
from audio.runs import FrameRun
from sessions import caller_side, speaking
from sessions.commands import Command, Relay
from sessions.events import AgentItemEnded, AgentText, CallerTranscribed, CallEvent, ItemTaken, ModelPassed
from sessions.link import OPEN
from sessions.state import CallState

# Events that neither read playback state, nor set a deadline, nor open or shut a fast path. They are most of what a
# model sends beside sound.
INDEPENDENT_OF_SOUND: frozenset[type[CallEvent]] = frozenset(
    {AgentItemEnded, AgentText, CallerTranscribed, ItemTaken, ModelPassed}
)


class Speech(NamedTuple):
    """The speech of one item, and the response that it belongs to."""

    response_id: str
    item_id: str


def waits_for_sound(event: CallEvent) -> bool:
    """Whether waiting sound must be flushed before the call takes this event.

    Not for an event that neither reads playback state, nor sets a deadline, nor opens or shuts a fast path. After such
    an event the deadline and the fast paths need no second look either, unless `commands_wait_for_sound` says so.
    """
    return type(event) not in INDEPENDENT_OF_SOUND


def commands_wait_for_sound(commands: list[Command]) -> bool:
    """Whether waiting sound must be flushed before these commands are carried out.

    Asked for an event that itself does not wait for sound. It then leads to one `Relay` or to nothing, with one
    exception: text that arrives after its turn has ended makes the call save the turn again, and with the turn go the
    call's sums, in which all sound must be counted.
    """
    return bool(commands) and (len(commands) > 1 or type(commands[0]) is not Relay)


class FastPathSound:
    """Says which sound needs no decision of the call, and takes it in runs after it has been sent."""

    __slots__ = ("_state",)

    def __init__(self, state: CallState) -> None:
        self._state = state

    @property
    def caller_open(self) -> bool:
        """Whether all sound of the caller goes to the model now; `caller_run` may then take it later."""
        return self._state.link.state is OPEN  # It is not open once the call has ended.

    @property
    def agent_open(self) -> Speech | None:
        """The speech that goes to the caller now, all of it; `agent_run` may then take it later. None: no speech does.

        Speech whose first audible sample is still awaited is measured frame by frame and takes no fast path.
        """
        state = self._state
        live_item = state.responses.live_item
        if live_item is None or state.watch.listening:
            return None
        return Speech(state.responses.live_response, live_item)

    def caller_run(self, run: FrameRun) -> None:
        """Take caller sound that was sent to the model, before any event that arrived after it and depends on it."""
        if self._state.end.reason is None:
            caller_side.run(self._state, run)

    def agent_run(self, item_id: str, run: FrameRun) -> None:
        """Take speech that was sent to the caller, before any event that arrived after it and depends on it."""
        if self._state.end.reason is None:
            speaking.run(self._state, item_id, run)

    def left(self, played_out: Iterable[PlayedOut]) -> None:
        """Take what has left the caller's play-out and what was echoed, before any later event that depends on it."""
        state = self._state
        if state.end.reason is not None:
            return
        for one in played_out:
            if isinstance(one, Echo):
                caller_side.echoed(state, one.item_id, one.position_ms, one.at_ms)
            else:
                state.ledger.left((one,))
