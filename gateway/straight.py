"""The two lanes of a call: when each is open, and what the call is told of the sound that they carried."""

from __future__ import annotations

from collections.abc import Callable

from gateway.callers.leg import CallerLeg
from gateway.callrecord import CallRecord
from gateway.lane import Lane
from gateway.models.leg import ModelLeg
from sessions.call import Call


class StraightWays:
    """Opens and closes the lanes of one call; `played` is called after speech was carried."""

    __slots__ = ("_call", "_leg", "_model", "_played", "_record", "_spoken", "from_caller", "from_model")

    def __init__(
        self, call: Call, record: CallRecord, now_ns: Callable[[], int], played: Callable[[CallerLeg], None]
    ) -> None:
        self._call = call
        self._record = record
        self._played = played
        self._leg: CallerLeg | None = None
        self._model: ModelLeg | None = None
        self._spoken = ""  # the item whose speech goes straight
        self.from_caller = Lane(now_ns, self.settle, self._full)
        self.from_model = Lane(now_ns, self.settle, self._full)

    def settle(self) -> None:
        """Tell the call of all sound that was carried: before it hears of anything that asks for it."""
        run = self.from_caller.take()
        if run is not None and self._model is not None:
            self._record.caller_run(run)
            self._call.straight.caller_run(run)
            self._model.went(run)
        run = self.from_model.take()
        if run is not None and self._leg is not None:
            self._record.agent_run(run, self._spoken)
            self._call.straight.agent_run(self._spoken, run)
            self._played(self._leg)
            if self._call.straight.speaks is None:  # nobody takes it, and so it was cancelled just now
                self.from_model.close()

    def look(self, leg: CallerLeg | None, model: ModelLeg | None) -> None:
        """After anything that the call was told: which ways are straight now? Nothing may be waiting."""
        self._leg, self._model = leg, model
        if leg is None or model is None:
            self.from_caller.close()
            self.from_model.close()
            return
        source = leg.source()
        send = model.straight() if source is not None and self._call.straight.hears else None
        if source is not None and send is not None:
            self.from_caller.open(source, send)
        else:
            self.from_caller.close()
        speech = self._call.straight.speaks
        source = model.source(*speech) if speech is not None else None
        send = leg.straight(speech[0]) if speech is not None and source is not None else None
        if speech is not None and source is not None and send is not None:
            self._spoken = speech[1]
            self.from_model.open(source, send)
        else:
            self.from_model.close()

    def end(self) -> None:
        """Tell the call of the last sound, and carry no more."""
        self.settle()
        self.look(None, None)
        self.from_caller.retire()
        self.from_model.retire()
        self._played = _nobody  # whose method it is would be kept alive

    def _full(self) -> None:
        self.settle()
        self.look(self._leg, self._model)


def _nobody(leg: CallerLeg) -> None:
    return None
