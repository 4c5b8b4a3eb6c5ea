"""Sound that goes straight from one leg to the other: when it may, and what the call notes of it afterwards."""

from __future__ import annotations

from audio.runs import FrameRun
from sessions import caller_side, speaking
from sessions.state import CallState, Line


class StraightSound:
    """Says whose frames need no decision of the call, and takes them in runs once they have gone."""

    __slots__ = ("_state",)

    def __init__(self, state: CallState) -> None:
        self._state = state

    @property
    def hears(self) -> bool:
        """Whether caller sound goes to the model whatever it is: `caller_run` may then be told of it later."""
        return self._state.line is Line.OPEN and self._state.end_reason is None

    @property
    def speaks(self) -> tuple[str, str] | None:
        """The response and the item whose speech goes to the caller whatever it is, `agent_run` being told later."""
        state = self._state
        if state.live_item is None or state.line is not Line.OPEN or state.watch.listening or state.end_reason:
            return None
        return state.live_response, state.live_item

    def caller_run(self, run: FrameRun) -> None:
        """Take sound that went straight to the model. Told before any other event that came after it."""
        if self._state.end_reason is None:
            caller_side.run(self._state, run)

    def agent_run(self, item_id: str, run: FrameRun) -> None:
        """Take speech of an item that went straight to the caller. Told before any other event that came after it."""
        if self._state.end_reason is None:
            speaking.run(self._state, item_id, run)
