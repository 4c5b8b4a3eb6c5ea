"""The fast paths of a call, one in each direction: when each is open, and what the call notes of their sound."""

from __future__ import annotations

from collections.abc import Callable

from gateway.calls.record import CallRecord
from gateway.legs.caller import CallerLeg
from gateway.legs.fast_path_end import FastPathEnd, fast_path_of
from gateway.legs.model import ModelLeg
from sessions.call import Call
from sessions.fast_path import Speech


class FastPaths:
    """Opens and shuts the fast paths of one call, where both its legs offer one, and notes what they carried.

    `on_played` is called after the agent's speech was noted.
    """

    __slots__ = ("_call", "_caller", "_item_id", "_leg", "_model", "_now_ns", "_on_played", "_record")

    def __init__(
        self, call: Call, record: CallRecord, now_ns: Callable[[], int], on_played: Callable[[], None]
    ) -> None:
        self._call = call
        self._record = record
        self._now_ns = now_ns
        self._on_played = on_played
        self._caller: FastPathEnd | None = None
        self._model: FastPathEnd | None = None
        self._leg: ModelLeg | None = None  # the one that `_model` is of
        self._item_id = ""  # the item whose speech takes the fast path

    def attach(self, leg: CallerLeg) -> None:
        """Use the fast path of the caller's leg, if it offers one."""
        self._caller = self._attached(leg)

    def flush(self) -> None:
        """Note all sound that was carried: in the recording, in the call, and in the codec of the leg it went to."""
        caller, model = self._caller, self._model
        if caller is None or model is None:
            return
        run = caller.take()
        if run is not None:
            self._record.caller_run(run)
            self._call.fast_path.caller_run(run)
            if _same(caller, model):
                model.note_sent(run)
        run = model.take()
        if run is not None:
            self._record.agent_run(run, self._item_id)
            self._call.fast_path.agent_run(self._item_id, run)
            if _same(caller, model):
                caller.note_sent(run)
            self._on_played()
            if self._call.fast_path.agent_open is None:  # `on_played` has just cancelled the response
                model.close()

    def reevaluate(self, leg: ModelLeg | None) -> None:
        """Decide again which fast paths may stay open, with this leg of the model. No sound may be waiting."""
        if leg is not self._leg:
            self._replace(leg)
        caller, model = self._caller, self._model
        if caller is None or model is None:
            return
        if self._call.fast_path.caller_open:
            _connect(caller, model, None)
        else:
            caller.close()
        speech = self._call.fast_path.agent_open
        if speech is not None:
            self._item_id = speech.item_id
            _connect(model, caller, speech)
        else:
            model.close()

    def end(self) -> None:
        """Note the last sound, and carry no more."""
        self.flush()
        self._replace(None)
        if self._caller is not None:
            self._caller.detach()
        self._on_played = _nothing  # a method of another part of the call, which it would keep alive

    def _replace(self, leg: ModelLeg | None) -> None:
        if self._model is not None:
            self._model.detach()
        if self._caller is not None:
            self._caller.close()
        self._leg = leg
        self._model = self._attached(leg)

    def _attached(self, leg: object) -> FastPathEnd | None:
        end = fast_path_of(leg)
        if end is not None:
            end.attach(self._now_ns, self.flush, self._full)
        return end

    def _full(self) -> None:
        self.flush()
        self.reevaluate(self._leg)


def _connect(reading: FastPathEnd, writing: FastPathEnd, speech: Speech | None) -> None:
    """Open the fast path from one leg to the other, if both can now."""
    source = reading.source(speech)
    if source is not None and _same(reading, writing):
        send = writing.sender(speech)
        if send is not None:
            reading.open(source, send)
            return
    elif source is not None:
        send_frame = writing.frame_sender(speech, source.stream.format)
        if send_frame is not None:
            reading.open_frames(source, send_frame)
            return
    reading.close()


def _same(one: FastPathEnd, other: FastPathEnd) -> bool:
    """Whether messages go from one to the other as they are."""
    return bool(one.protocol) and one.protocol == other.protocol


def _nothing() -> None:
    return None
