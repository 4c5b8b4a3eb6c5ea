"""The straight way of sound, one lane each way: written out in the callback that brought it, told to the call in runs.

Between two things that happen in a call most frames are alike: the same shape of message, of the same stream, to a
socket that takes it. Such a message is known by its pattern, its sound is decoded (which is its check), and the very
bytes go on at once. What the call, the ledger and the recording make of it can wait until something happens that asks
for it, or a third of a second: they get the frames with the times at which they came, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audio.formats import PCM16_24K
from audio.runs import FrameRun, SoundStream
from gateway.clock import NS_A_MS
from gateway.realtime.scan import SoundPattern

MAX_FRAMES = 15  # that wait to be told: more would hold more sound in memory, and save little
MAX_WAIT_MS = 300


@dataclass(slots=True)
class SoundSource:
    """Where a lane's sound comes from: how its messages look, and the stream that they carry, which the lane counts."""

    pattern: SoundPattern
    stream: SoundStream


class Lane:
    """Sound in one direction, while its way is straight. A lane that is closed has nothing waiting."""

    __slots__ = (
        "_at_ns",
        "_due_ns",
        "_full",
        "_now_ns",
        "_payload_of",
        "_payloads",
        "_sample_bytes",
        "_send",
        "_start_sample",
        "_stream",
        "settle",
    )

    def __init__(self, now_ns: Callable[[], int], settle: Callable[[], None], full: Callable[[], None]) -> None:
        """`settle` tells the call of all that waits, here and in the other lane; `full`, called when that is enough,
        also sees whether the way is still straight.
        """
        self._now_ns = now_ns
        self.settle = settle
        self._full = full
        self._send: Callable[[bytes], None] | None = None
        self._payload_of: Callable[[bytes], bytes | None] = _nothing
        self._sample_bytes = 1
        self._stream = SoundStream(PCM16_24K)
        self._start_sample = 0  # of the first frame that waits
        self._payloads: list[bytes] = []
        self._at_ns: list[int] = []
        self._due_ns = 0

    def open(self, source: SoundSource, send: Callable[[bytes], None]) -> None:
        """From now on messages of this source go straight to `send`. Nothing may be waiting."""
        self._payload_of = source.pattern.payload
        self._stream = source.stream
        self._sample_bytes = source.stream.format.sample_bytes
        self._send = send

    def close(self) -> None:
        """No message goes straight. Nothing may be waiting."""
        self._send = None
        self._payload_of = _nothing

    @property
    def closed(self) -> bool:
        """Whether every message is to be read the usual way."""
        return self._send is None

    def retire(self) -> None:
        """Close for good: whoever opened it is forgotten, so that nothing keeps the call alive."""
        self.close()
        self.settle = self._full = _idle

    def carry(self, message: bytes) -> bool:
        """Send a message straight on, if it is sound of this lane. False: it is to be read the usual way."""
        send = self._send
        if send is None:
            return False
        payload = self._payload_of(message)
        if payload is None or len(payload) % self._sample_bytes:
            return False
        send(message)
        at_ns = self._now_ns()
        payloads = self._payloads
        if not payloads:
            self._due_ns = at_ns + MAX_WAIT_MS * NS_A_MS
            self._start_sample = self._stream.samples
        payloads.append(payload)
        self._at_ns.append(at_ns)
        self._stream.samples += len(payload) // self._sample_bytes
        if at_ns >= self._due_ns or len(payloads) >= MAX_FRAMES:
            self._full()
        return True

    def take(self) -> FrameRun | None:
        """What waits to be told; None where nothing does."""
        payloads = self._payloads
        if not payloads:
            return None
        at_ms = [at_ns // NS_A_MS for at_ns in self._at_ns]
        self._payloads, self._at_ns = [], []
        return FrameRun(payloads, at_ms, self._stream.format, self._start_sample, sum(map(len, payloads)))


def _nothing(message: bytes) -> None:
    return None


def _idle() -> None:
    return None


CLOSED = Lane(lambda: 0, _idle, _idle)  # for a leg that has no call
