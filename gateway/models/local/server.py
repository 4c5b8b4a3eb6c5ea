"""The Realtime server of the embedded model: what a client says while sound waits to be heard, waits behind it.

So a file that came in one message leads to the same turns, items, answers and errors as if it had been heard on the
spot. Two messages go ahead: a clear, which takes back the sound that waits, and a cancel, which means the answer that
is under way now.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.models.local.brain import LocalBrain
from gateway.models.local.held import MOST_HELD_MS, HeldMessages, Kind, Missed, kind_of
from gateway.realtime.brain import BrainFactory
from gateway.realtime.server import RealtimeServer
from sessions.errors import WireError
from sessions.ports import Ids

MESSAGES_AT_ONCE = 8  # when it is their turn
FULL = f"The model is still listening to {MOST_HELD_MS // 1000} s of sound that came before; send this again later."


class LocalServer(RealtimeServer):
    """Keeps the protocol for a `LocalBrain`, and holds back what the brain is not ready for."""

    def __init__(
        self, brains: BrainFactory, ids: Ids, emit: Callable[[bytes], None], *, now_ms: int, wall_s: float, model: str
    ) -> None:
        super().__init__(brains, ids, emit, now_ms=now_ms, wall_s=wall_s, model=model)
        brain = self._brain
        assert isinstance(brain, LocalBrain)
        self._local = brain
        self._held = HeldMessages()

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next: at once, if messages can have their turn."""
        due_ms = super().deadline_ms
        if due_ms is None or not self._held or self._local.waiting:
            return due_ms
        return min(due_ms, self._now_ms)

    def receive(self, text: bytes, now_ms: int) -> None:
        """Take one message, now or in its turn."""
        if self._local.waiting or self._held:
            self._hold(text, now_ms)
        else:
            super().receive(text, now_ms)

    def on_time(self, now_ms: int) -> None:
        """It is that late. An early call is harmless."""
        super().on_time(now_ms)
        for _ in range(MESSAGES_AT_ONCE):
            if not self._held or self._local.waiting:
                return
            self._take_held(now_ms)

    def close(self) -> None:
        """The client is gone."""
        super().close()
        self._held.clear()

    def _take_held(self, now_ms: int) -> None:
        held = self._held.take()
        if isinstance(held, Missed):
            self._local.missed(self._listening.append(bytes(held.payload_bytes)))
        else:
            super().receive(held, now_ms)

    def _hold(self, text: bytes, now_ms: int) -> None:
        if self._closed or self._failure is not None:
            return
        kind, sound_bytes = kind_of(text)
        if kind is Kind.CLEAR:
            self._held.forget_sound()
        if kind is Kind.CLEAR and self._held.only_sound and not self._local.waiting.with_item:
            self._local.cleared()
            while self._held:
                self._take_held(now_ms)
            super().receive(text, now_ms)
        elif kind is Kind.CANCEL and not self._held.has(Kind.RESPOND):
            super().receive(text, now_ms)
        elif self._held.full(self._listening.format):
            self._refuse(WireError(FULL, code="rate_limit_exceeded"))
        else:
            self._held.put(kind, sound_bytes, text)
