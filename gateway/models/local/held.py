"""A client's messages that wait until sound in front of them has been heard, in order and within bounds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from audio.formats import AudioFormat
from gateway.realtime.reading import read_json
from gateway.realtime.scan import scan_append

MOST_HELD_MS = 300_000  # of sound; while less than this waits, a further message is taken, however long it is
MOST_HELD_BYTES = 20 * 1024 * 1024  # of messages, likewise
MOST_HELD = 20_000  # messages: 300 s in frames of 15 ms
SHORT_BYTES = 65_536  # past this a message that is not sound is not looked into


class Kind(Enum):
    """What a message is, as far as it matters here."""

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
class Missed:
    """Sound that the client took back before it was heard; its length counts."""

    payload_bytes: int


def kind_of(text: bytes) -> tuple[Kind, int]:
    """What a message is, and how many bytes of sound it brings."""
    sound = scan_append(text)
    if sound is not None:
        return Kind.SOUND, len(sound) * 3 // 4 - sound[-2:].count(b"=")
    if len(text) > SHORT_BYTES:
        return Kind.OTHER, 0
    try:
        parsed = read_json(text)
    except ValueError:
        return Kind.OTHER, 0  # the server will say what is wrong with it, in its turn
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    return _KINDS.get(kind, Kind.OTHER) if isinstance(kind, str) else Kind.OTHER, 0


class HeldMessages:
    """The queue of them."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Kind, int, bytes]] = deque()  # with its sound's bytes
        self._bytes = 0
        self._sound_bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def full(self, format: AudioFormat) -> bool:
        """Whether nothing more can be taken; `format` is the sound's."""
        waits_ms = format.ms_of(format.samples_in(self._sound_bytes))
        return waits_ms >= MOST_HELD_MS or self._bytes >= MOST_HELD_BYTES or len(self._queue) >= MOST_HELD

    @property
    def only_sound(self) -> bool:
        """Whether nothing but sound waits, or nothing at all."""
        return all(kind is Kind.SOUND for kind, _, _ in self._queue)

    def has(self, kind: Kind) -> bool:
        """Whether there is such a message."""
        return any(held is kind for held, _, _ in self._queue)

    def put(self, kind: Kind, sound_bytes: int, text: bytes) -> None:
        """Take a message."""
        self._queue.append((kind, sound_bytes, text))
        self._bytes += len(text)
        self._sound_bytes += sound_bytes

    def take(self) -> bytes | Missed:
        """The message whose turn it is, or sound that was taken back."""
        _, sound_bytes, text = self._queue.popleft()
        self._bytes -= len(text)
        self._sound_bytes -= sound_bytes
        return text or Missed(sound_bytes)

    def forget_sound(self) -> None:
        """The client takes back the sound since its last other message."""
        missed = 0
        while self._queue and self._queue[-1][0] is Kind.SOUND:
            _, sound_bytes, text = self._queue.pop()
            self._bytes -= len(text)
            missed += sound_bytes
        if missed:
            self._queue.append((Kind.SOUND, missed, b""))

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
        self._bytes = self._sound_bytes = 0
