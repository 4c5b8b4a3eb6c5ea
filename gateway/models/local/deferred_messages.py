"""Queues a client's messages while sound before them is still being processed, in order and within bounds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from audio.formats import AudioFormat
from gateway.realtime.reading import read_json
from gateway.realtime.scan import scan_append

# A further message is accepted while the queue is below each of these bounds, however long that message is.
MOST_DEFERRED_MS = 300_000  # of sound
MOST_DEFERRED_BYTES = 20 * 1024 * 1024  # of messages
MOST_DEFERRED = 20_000  # messages: 300 s in frames of 15 ms
SHORT_BYTES = 65_536  # a longer message without sound is not parsed here, and counts as `Kind.OTHER`


class Kind(Enum):
    """The kinds of messages that the queue distinguishes."""

    SOUND = auto()
    CLEAR = auto()
    RESPOND = auto()
    CANCEL = auto()
    OTHER = auto()


_KINDS = {
    "input_audio_buffer.clear": Kind.CLEAR,
    "response.create": Kind.RESPOND,
    "response.cancel": Kind.CANCEL,
}


@dataclass(frozen=True, slots=True)
class SkippedSound:
    """The length of sound that the client cleared before it was processed: it still advances the time."""

    payload_bytes: int


def kind_of(text: bytes) -> tuple[Kind, int]:
    """A message's kind, and the bytes of decoded sound in it."""
    sound = scan_append(text)
    if sound is not None:
        return Kind.SOUND, len(sound) * 3 // 4 - sound[-2:].count(b"=")
    if len(text) > SHORT_BYTES:
        return Kind.OTHER, 0
    try:
        parsed = read_json(text)
    except ValueError:
        return Kind.OTHER, 0  # the server reports the error when it processes the message
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    return _KINDS.get(kind, Kind.OTHER) if isinstance(kind, str) else Kind.OTHER, 0


class DeferredMessages:
    """The queue of deferred messages."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Kind, int, bytes]] = deque()  # kind, bytes of sound, message
        self._bytes = 0
        self._sound_bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def full(self, format: AudioFormat) -> bool:
        """Whether the queue has reached a bound; `format` is the format of the sound."""
        waits_ms = format.ms_of(format.samples_in(self._sound_bytes))
        return waits_ms >= MOST_DEFERRED_MS or self._bytes >= MOST_DEFERRED_BYTES or len(self._queue) >= MOST_DEFERRED

    @property
    def only_sound(self) -> bool:
        """Whether the queue holds nothing but sound, or is empty."""
        return all(kind is Kind.SOUND for kind, _, _ in self._queue)

    def has(self, kind: Kind) -> bool:
        """Whether the queue holds a message of this kind."""
        return any(deferred is kind for deferred, _, _ in self._queue)

    def put(self, kind: Kind, sound_bytes: int, text: bytes) -> None:
        """Append a message."""
        self._queue.append((kind, sound_bytes, text))
        self._bytes += len(text)
        self._sound_bytes += sound_bytes

    def take(self) -> bytes | SkippedSound:
        """Remove and return the first message, or the length of sound that was cleared."""
        _, sound_bytes, text = self._queue.popleft()
        self._bytes -= len(text)
        self._sound_bytes -= sound_bytes
        return text or SkippedSound(sound_bytes)

    def drop_trailing_sound(self) -> None:
        """The client cleared its buffer: replace the sound behind the last other message by its length."""
        skipped = 0
        while self._queue and self._queue[-1][0] is Kind.SOUND:
            _, sound_bytes, text = self._queue.pop()
            self._bytes -= len(text)
            skipped += sound_bytes
        if skipped:
            self._queue.append((Kind.SOUND, skipped, b""))

    def clear(self) -> None:
        """Empty the queue."""
        self._queue.clear()
        self._bytes = self._sound_bytes = 0
