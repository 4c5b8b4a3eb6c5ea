"""The Realtime server of the embedded model: messages that follow unprocessed sound are deferred until it is processed.

So a file sent in one message leads to the same turns, items, answers and errors as the same sound in real time. Two
messages are not deferred: a clear, which discards the unprocessed sound, and a cancel, which means the answer that is
in progress now.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.models.local.brain import LocalBrain
from gateway.models.local.deferred_messages import MOST_DEFERRED_MS, DeferredMessages, Kind, SkippedSound, kind_of
from gateway.realtime.server.brain import BrainFactory
from gateway.realtime.server.server import RealtimeServer
from sessions.errors import WireError
from sessions.ports import Ids

MESSAGES_AT_ONCE = 8  # deferred messages that one call of `on_time` processes
FULL = f"The model has {MOST_DEFERRED_MS // 1000} s of earlier sound to process; send this again later."


class LocalServer(RealtimeServer):
    """Implements the protocol for a `LocalBrain`, and defers messages for which the brain is not ready."""

    def __init__(
        self, brains: BrainFactory, ids: Ids, emit: Callable[[bytes], None], *, now_ms: int, wall_s: float, model: str
    ) -> None:
        super().__init__(brains, ids, emit, now_ms=now_ms, wall_s=wall_s, model=model)
        brain = self._brain
        assert isinstance(brain, LocalBrain)
        self._local = brain
        self._deferred = DeferredMessages()

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next; at once, if deferred messages can be processed."""
        due_ms = super().deadline_ms
        if due_ms is None or not self._deferred or self._local.pending_audio:
            return due_ms
        return min(due_ms, self._now_ms)

    def receive(self, text: bytes, now_ms: int) -> None:
        """Process one message, or defer it."""
        if self._local.pending_audio or self._deferred:
            self._defer(text, now_ms)
        else:
            super().receive(text, now_ms)

    def on_time(self, now_ms: int) -> None:
        """Process what is due. An early call is harmless."""
        super().on_time(now_ms)
        for _ in range(MESSAGES_AT_ONCE):
            if not self._deferred or self._local.pending_audio:
                return
            self._process_deferred(now_ms)

    def close(self) -> None:
        """The client has disconnected."""
        super().close()
        self._deferred.clear()

    def _process_deferred(self, now_ms: int) -> None:
        deferred = self._deferred.take()
        if isinstance(deferred, SkippedSound):
            self._local.skip(self._audio_input.append(bytes(deferred.payload_bytes)))
        else:
            super().receive(deferred, now_ms)

    def _defer(self, text: bytes, now_ms: int) -> None:
        if self._closed or self._failure is not None:
            return
        kind, sound_bytes = kind_of(text)
        if kind is Kind.CLEAR:
            self._deferred.drop_trailing_sound()
        if kind is Kind.CLEAR and self._deferred.only_sound and not self._local.pending_audio.has_recording:
            self._local.cleared()
            while self._deferred:
                self._process_deferred(now_ms)
            super().receive(text, now_ms)
        elif kind is Kind.CANCEL and not self._deferred.has(Kind.RESPOND):
            super().receive(text, now_ms)
        elif self._deferred.full(self._audio_input.format):
            self._refuse(WireError(FULL, code="rate_limit_exceeded"))
        else:
            self._deferred.put(kind, sound_bytes, text)
