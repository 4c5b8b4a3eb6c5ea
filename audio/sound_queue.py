"""Sound that waits to be sent, in order, with the item that each sample belongs to."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from audio.formats import AudioFormat

# Of so many items the length is remembered: a model that goes back to an older one would be counted from 0 again.
MAX_ITEMS = 64


class Stretch(NamedTuple):
    """Consecutive samples of one item; `start_sample` counts from the item's first sample."""

    item_id: str
    start_sample: int
    samples: int


class _Piece:
    """Sound of one item, or silence that belongs to none. `taken` bytes of it are gone."""

    __slots__ = ("item_id", "payload", "start_sample", "taken")

    def __init__(self, item_id: str | None, payload: bytes, start_sample: int) -> None:
        self.item_id = item_id
        self.payload = payload
        self.start_sample = start_sample
        self.taken = 0


class SoundQueue:
    """A queue of sound in one format; it is filled by items and emptied by bytes."""

    __slots__ = ("_item_samples", "_pieces", "_sample_bytes", "waiting_bytes")

    def __init__(self, format: AudioFormat) -> None:
        self._sample_bytes = format.sample_bytes
        self._pieces: deque[_Piece] = deque()
        self._item_samples: dict[str, int] = {}  # how much of each item was put in so far
        self.waiting_bytes = 0

    def put(self, item_id: str, payload: bytes) -> None:
        """Append sound of an item, in whole samples."""
        if not payload:
            return
        start_sample = self.pass_by(item_id, len(payload) // self._sample_bytes)
        self._pieces.append(_Piece(item_id, payload, start_sample))
        self.waiting_bytes += len(payload)

    def pass_by(self, item_id: str, samples: int) -> int:
        """Count sound of an item that does not wait here. Returns the position of its first sample."""
        lengths = self._item_samples
        start_sample = lengths.get(item_id, 0)
        lengths[item_id] = start_sample + samples
        if len(lengths) > MAX_ITEMS:
            del lengths[next(iter(lengths))]
        return start_sample

    def pad(self, payload: bytes) -> None:
        """Append silence that belongs to no item."""
        self._pieces.append(_Piece(None, payload, 0))
        self.waiting_bytes += len(payload)

    def take(self, payload_bytes: int) -> tuple[bytes, list[Stretch]]:
        """Remove so many bytes, or all if there are fewer, and say which stretches of which items they are."""
        pieces = self._pieces
        if pieces and len(pieces[0].payload) - pieces[0].taken > payload_bytes:
            return self._take_of_first(payload_bytes)
        parts: list[bytes] = []
        stretches: list[Stretch] = []
        missing = payload_bytes
        while missing and pieces:
            piece = pieces[0]
            part = piece.payload[piece.taken : piece.taken + missing]
            if piece.item_id is not None:
                start_sample = piece.start_sample + piece.taken // self._sample_bytes
                stretches.append(Stretch(piece.item_id, start_sample, len(part) // self._sample_bytes))
            piece.taken += len(part)
            missing -= len(part)
            parts.append(part)
            if piece.taken == len(piece.payload):
                pieces.popleft()
        self.waiting_bytes -= payload_bytes - missing
        return (parts[0] if len(parts) == 1 else b"".join(parts)), stretches

    def _take_of_first(self, payload_bytes: int) -> tuple[bytes, list[Stretch]]:
        """Remove so many bytes from the first piece, which has more: the usual case when single frames leave."""
        piece = self._pieces[0]
        taken = piece.taken
        piece.taken = taken + payload_bytes
        self.waiting_bytes -= payload_bytes
        payload = piece.payload[taken : piece.taken]
        if piece.item_id is None or not payload:
            return payload, []
        width = self._sample_bytes
        return payload, [Stretch(piece.item_id, piece.start_sample + taken // width, payload_bytes // width)]

    def head(self) -> tuple[str, int] | None:
        """The item and the position in samples of the next sound; None where no sound waits."""
        for piece in self._pieces:
            if piece.item_id is not None:
                return piece.item_id, piece.start_sample + piece.taken // self._sample_bytes
        return None

    def drop(self) -> None:
        """Forget everything that waits. Items are counted from 0 again."""
        self._pieces.clear()
        self._item_samples.clear()
        self.waiting_bytes = 0
