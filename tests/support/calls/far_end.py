"""A play-out, the ledger, and a far end with a network between them, in simulated time: what was really heard?"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count

from audio.formats import PCMU_8K, AudioFrame
from audio.playout import FarEndRules, PlayOut
from audio.sent_sound import SentSound
from sessions.playback import PlaybackLedger

BYTES_A_MS = 8  # of mu-law at 8000 Hz
SPOKEN = b"\x10"  # a sample of speech; silence is another byte, and comes behind it in its frame


@dataclass
class World:
    """Time, and what happens at which."""

    now_ms: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def at(self, when_ms: float, what: Callable[[], None]) -> None:
        heappush(self._events, (max(when_ms, self.now_ms), next(self._numbers), what))

    def run(self, until_ms: float) -> None:
        while self._events and self._events[0][0] <= until_ms:
            self.now_ms, _, what = heappop(self._events)
            what()
        self.now_ms = until_ms


class Network:
    """One way of a network: a constant delay, and jitter that does not change the order."""

    def __init__(self, world: World, delay_ms: float, jitter_ms: float, chance: random.Random) -> None:
        self._world = world
        self._delay_ms = delay_ms
        self._jitter_ms = jitter_ms
        self._chance = chance
        self._last_ms = 0.0
        self.stalled_until_ms = 0.0

    def send(self, arrives: Callable[[], None]) -> None:
        delay_ms = self._delay_ms + self._chance.uniform(-self._jitter_ms, self._jitter_ms)
        due_ms = max(self._last_ms, self._world.now_ms + max(0.0, delay_ms), self.stalled_until_ms)
        self._last_ms = due_ms
        self._world.at(due_ms, arrives)


class Ear:
    """A far end that buffers what it gets, plays it, echoes marks, and drops all at a clear."""

    def __init__(self, world: World, *, echoes_at_clear: bool) -> None:
        self._world = world
        self._echoes_at_clear = echoes_at_clear
        self._pieces: list[tuple[float, float]] = []  # when each begins to be played, and its length
        self._until_ms = 0.0
        self._generation = 0
        self._pending: dict[str, Callable[[str], None]] = {}
        self.cleared_heard_ms: float | None = None

    def sound(self, payload: bytes) -> None:
        begin_ms = max(self._until_ms, self._world.now_ms)
        self._pieces.append((begin_ms, payload.count(SPOKEN) / BYTES_A_MS))
        self._until_ms = begin_ms + len(payload) / BYTES_A_MS

    def mark(self, name: str, echo: Callable[[str], None]) -> None:
        self._pending[name] = echo
        self._world.at(max(self._until_ms, self._world.now_ms), lambda: self._reached(name))

    def _reached(self, name: str) -> None:
        echo = self._pending.pop(name, None)
        if echo is not None:
            echo(name)

    @property
    def held_ms(self) -> float:
        return max(0.0, self._until_ms - self._world.now_ms)

    def clear(self) -> None:
        self.cleared_heard_ms = self.heard_ms
        self._pieces.clear()
        self._until_ms = self._world.now_ms
        pending, self._pending = self._pending, {}
        if self._echoes_at_clear:
            for name, echo in pending.items():
                echo(name)

    @property
    def heard_ms(self) -> float:
        """How much has been played since the last clear."""
        now_ms = self._world.now_ms
        return sum(max(0.0, min(ms, now_ms - begin_ms)) for begin_ms, ms in self._pieces)


class PhoneCall:
    """A play-out and a ledger as a call has them, and an ear behind a network."""

    def __init__(
        self,
        rules: FarEndRules,
        *,
        delay_ms: float,
        jitter_ms: float = 0,
        echo_ms: float | None = None,
        echoes_at_clear: bool = False,
        seed: int = 0,
    ) -> None:
        assert rules.format == PCMU_8K
        self.world = World()
        chance = random.Random(seed)
        self.out = Network(self.world, delay_ms, jitter_ms, chance)
        self.back = Network(self.world, delay_ms if echo_ms is None else echo_ms, jitter_ms, chance)
        self.ear = Ear(self.world, echoes_at_clear=echoes_at_clear)
        self.play_out = PlayOut(rules)
        self.ledger = PlaybackLedger()
        self._interrupted_ms = 0
        self.stalled_until_ms = 0.0  # no tick comes before
        self._next_tick_ms: float | None = None
        if not rules.ahead_ms:
            self._tick()

    @property
    def now_ms(self) -> int:
        return int(self.world.now_ms)

    def pass_ms(self, ms: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now_ms + ms)

    def say(self, item_id: str, ms: int) -> None:
        """The model sends sound."""
        self._note()
        self.ledger.sent(item_id, ms * BYTES_A_MS, 8_000, self.now_ms)
        self.play_out.feed(item_id, AudioFrame(SPOKEN * (ms * BYTES_A_MS), PCMU_8K, 0))
        if self.play_out.rules.ahead_ms and self.now_ms >= self.stalled_until_ms:
            self._tick()

    def finish(self) -> None:
        """The response has ended."""
        self.play_out.finish()
        if self.play_out.rules.ahead_ms and self.now_ms >= self.stalled_until_ms:
            self._tick()

    def stall(self, ms: int) -> None:
        """The loop does nothing for so long."""
        self.stalled_until_ms = max(self.stalled_until_ms, self.world.now_ms + ms)

    def interrupt(self) -> int:
        """The caller interrupts: what was heard since the last time, as the ledger has it. The ear has its own view."""
        self._note()
        self.ledger.interrupted(self.now_ms)
        sent = self.play_out.clear()
        if sent is not None:
            self.out.send(partial(self._count_and_clear, sent))
        elif self.play_out.rules.ahead_ms:
            self.out.send(self.ear.clear)
        else:  # it holds nothing, and plays what it has got
            self.out.send(lambda: self.world.at(self.world.now_ms + 100, self.ear.clear))
        return self._heard_since_the_last()

    def _count_and_clear(self, sent: SentSound) -> None:
        dropped_ms = round(self.ear.held_ms)
        self.ear.clear()
        self.back.send(lambda: self._dropped(sent, dropped_ms))

    def _dropped(self, sent: SentSound, dropped_ms: int) -> None:
        self._note()
        for item_id, played_ms in sent.played_ms(dropped_ms):
            self.ledger.dropped(item_id, played_ms)

    @property
    def all_heard_ms(self) -> int:
        """What the ledger has as heard in the whole call."""
        self._note()
        return self._heard_ms()

    @property
    def heard_ms(self) -> int:
        """What the ledger has as heard since the last interruption."""
        self._note()
        return self._heard_ms() - self._interrupted_ms

    def _heard_since_the_last(self) -> int:
        before_ms, self._interrupted_ms = self._interrupted_ms, self._heard_ms()
        return self._interrupted_ms - before_ms

    def _heard_ms(self) -> int:
        return sum(span.heard_ms for span in self.ledger.spans(self.now_ms))

    def _note(self) -> None:
        self.ledger.left(self.play_out.departures(self.now_ms))

    def _tick(self) -> None:
        now_ms = self.now_ms
        while payloads := self.play_out.take(now_ms):
            for payload in payloads:
                self.out.send(partial(self.ear.sound, payload))
            name = self.play_out.mark()
            if name is not None:
                self.out.send(partial(self.ear.mark, name, self._echo))
        self._schedule()

    def _schedule(self) -> None:
        wake_ms = self.play_out.wake_ms()
        if wake_ms is None:
            return
        # As the ticker does: to the nearest tick.
        tick_ms = max(round(wake_ms / 20) * 20, (self.now_ms // 20 + 1) * 20)
        if self._next_tick_ms is None or tick_ms < self._next_tick_ms:
            self._next_tick_ms = tick_ms
            self.world.at(tick_ms, lambda: self._due(tick_ms))

    def _due(self, tick_ms: float) -> None:
        if tick_ms != self._next_tick_ms:
            return
        if self.world.now_ms < self.stalled_until_ms:
            self.world.at(self.stalled_until_ms, lambda: self._due(tick_ms))
            return
        self._next_tick_ms = None
        self._tick()

    def _echo(self, name: str) -> None:
        self.back.send(lambda: self._echoed(name))

    def _echoed(self, name: str) -> None:
        mark = self.play_out.echoed(name)
        if mark is not None:
            self._note()
            self.ledger.echoed(mark.item_id, mark.position_ms, self.now_ms)
