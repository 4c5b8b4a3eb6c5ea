"""One timer for the play-outs of all calls in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil

from gateway.guard import Boundary, cause_of
from sessions.ports import Clock

log = logging.getLogger(__name__)

TICK_MS = 20
# The ticks of all calls are spread over so many phases: fewer of them write at the same moment, and the timer rings
# no more than so many times in 20 ms, however many calls there are.
PHASES = 5
SLOT_MS = TICK_MS // PHASES
# A timer of the loop may ring so much too early; that counts as on time.
EARLY_MS = 0.5


class Beat:
    """One call's place in the ticker.

    `tick` gets the time in ms of the ticker's clock, and returns in how many ms it is to be called again, or None. What
    it raises goes to `fault`, and ends this call's ticks and nothing else.
    """

    __slots__ = ("_fault", "_ticker", "phase", "slot", "tick")

    def __init__(
        self,
        ticker: Ticker,
        phase: int,
        tick: Callable[[int], float | None],
        fault: Callable[[BaseException], None],
    ) -> None:
        self._ticker: Ticker | None = ticker
        self._fault = fault
        self.phase = phase
        self.slot: int | None = None  # the number of the slot in which it is due
        self.tick = tick

    def wake(self, in_ms: float) -> None:
        """Tick in the slot of this call's phase that is nearest to that time; an earlier tick that is due is kept."""
        if self._ticker is not None:
            self._ticker.wake(self, in_ms)

    def leave(self) -> None:
        """Never tick again. This drops the references to the call."""
        ticker, self._ticker = self._ticker, None
        self.slot = None
        self.tick = _no_tick
        self._fault = _no_fault
        if ticker is not None:
            ticker.left(self)

    @property
    def gone(self) -> bool:
        """Whether it has left."""
        return self._ticker is None

    def failed(self, error: BaseException) -> None:
        """A tick has raised this."""
        fault = self._fault
        self.leave()
        with Boundary(_log_fault):
            fault(error)


class Ticker:
    """Calls each call's tick at times that lie on a grid of the loop's clock, which a late tick does not move.

    A slot is `SLOT_MS` long, and a call uses every `PHASES`th. After a stall of the loop a call ticks once for all
    ticks that it has missed. There is no timer while no tick is due.
    """

    __slots__ = ("_clock", "_due", "_loop", "_phase_calls", "_running", "_slots", "_timer", "_timer_slot")

    def __init__(self, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._due: dict[int, list[Beat]] = {}
        self._slots: list[int] = []  # a heap of the keys of `_due`
        self._phase_calls = [0] * PHASES
        self._timer: asyncio.TimerHandle | None = None
        self._timer_slot = 0
        self._running = False

    def join(self, tick: Callable[[int], float | None], fault: Callable[[BaseException], None]) -> Beat:
        """A place for one more call, in the phase with the fewest; it ticks once it is woken."""
        phase = self._phase_calls.index(min(self._phase_calls))
        self._phase_calls[phase] += 1
        return Beat(self, phase, tick, fault)

    @property
    def idle(self) -> bool:
        """Whether there is no timer."""
        return self._timer is None

    # ---- for beats

    def wake(self, beat: Beat, in_ms: float) -> None:
        """Let a beat tick in the slot of its phase that is nearest to that time; an earlier one that is due is kept."""
        loop_ms = self._loop.time() * 1000
        nearest = ceil((loop_ms + in_ms - TICK_MS / 2) / SLOT_MS)
        slot = max(nearest, int((loop_ms + EARLY_MS) / SLOT_MS) + 1)
        slot += (beat.phase - slot) % PHASES
        if beat.slot is not None and beat.slot <= slot:
            return
        self._put(beat, slot)

    def left(self, beat: Beat) -> None:
        """A beat has left."""
        self._phase_calls[beat.phase] -= 1
        while self._slots and all(found.slot != self._slots[0] for found in self._due[self._slots[0]]):
            del self._due[heappop(self._slots)]
        self._set_timer()

    # ---- the timer

    def _set_timer(self) -> None:
        if self._running:
            return
        timer = self._timer
        if timer is not None:
            if self._slots and self._timer_slot == self._slots[0]:
                return
            timer.cancel()
            self._timer = None
        if self._slots:
            self._timer_slot = self._slots[0]
            self._timer = self._loop.call_at(self._timer_slot * SLOT_MS / 1000, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._running = True
        try:
            now_ms = self._clock.now_ms()
            last = int((self._loop.time() * 1000 + EARLY_MS) / SLOT_MS)
            slots, due = self._slots, self._due
            while slots and slots[0] <= last:
                slot = heappop(slots)
                self._tick(slot, due.pop(slot), last, now_ms)
        finally:
            self._running = False
            self._set_timer()

    def _tick(self, slot: int, beats: list[Beat], last: int, now_ms: int) -> None:
        """Let the calls of one slot tick; `last` is the slot of the present time. A fault is its own call's."""
        late_ms = (last - slot) * SLOT_MS
        remaining = iter(beats)
        ticking: list[Beat] = []
        done = False
        while not done:
            with Boundary(lambda error: ticking.pop().failed(error)):
                for beat in remaining:
                    if beat.slot != slot:
                        continue  # it has left, or is due at another time now
                    ticking[:] = (beat,)
                    beat.slot = None
                    again_ms = beat.tick(now_ms)
                    if again_ms is not None and not beat.gone:
                        ticks = max(1, int((again_ms + late_ms) / TICK_MS + 0.5))
                        ahead = max(ticks * PHASES, (last - slot) // PHASES * PHASES + PHASES)
                        self._put(beat, slot + ahead)
                done = True

    def _put(self, beat: Beat, slot: int) -> None:
        beat.slot = slot  # in the list of a slot in which it was due before, it is passed over
        beats = self._due.get(slot)
        if beats is None:
            self._due[slot] = [beat]
            heappush(self._slots, slot)
            self._set_timer()
        else:
            beats.append(beat)


def _no_tick(now_ms: int) -> None:
    return None


def _no_fault(error: BaseException) -> None:
    return None


def _log_fault(error: BaseException) -> None:
    log.error("a call's fault could not be handed to it", extra=cause_of(error))
