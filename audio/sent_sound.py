"""What has left for a far end since the last clear: from how much the far end drops follows what it has played."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from audio.formats import AudioFormat
from audio.sound_queue import Stretch

# A far end holds a few hundred milliseconds, so it drops sound of the last few items at most.
MAX_PIECES = 16


class _Piece:
    """Sound of one item without a gap. `at` is where it begins in all that has left."""

    __slots__ = ("at", "item_id", "samples", "start_sample")

    def __init__(self, item_id: str, start_sample: int, at: int) -> None:
        self.item_id = item_id
        self.start_sample = start_sample
        self.at = at
        self.samples = 0


class SentSound:
    """Counts what leaves, by item, with the silence that fills up last frames."""

    __slots__ = ("_format", "_last", "_pads", "_pieces", "_samples")

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._samples = 0  # all that has left, silence included
        self._last: _Piece | None = None
        self._pieces: deque[_Piece] = deque(maxlen=MAX_PIECES)
        self._pads: deque[tuple[int, int]] = deque()  # silence that is still to leave: where it begins, and samples

    def left(self, stretches: Iterable[Stretch]) -> None:
        """Note sound that leaves now."""
        for item_id, start_sample, samples in stretches:
            if self._pads:
                self._pass_pads()
            last = self._last
            if last is None or last.item_id != item_id or last.start_sample + last.samples != start_sample:
                last = self._last = _Piece(item_id, start_sample, self._samples)
                self._pieces.append(last)
            last.samples += samples
            self._samples += samples
        if self._pads:
            self._pass_pads()

    def padded(self, waiting_samples: int, samples: int) -> None:
        """Note silence that was put behind everything that waits."""
        self._pads.append((self._samples + waiting_samples, samples))

    def _pass_pads(self) -> None:
        while self._pads and self._pads[0][0] <= self._samples:
            self._samples += self._pads.popleft()[1]
            self._last = None  # what follows does not begin where the piece ends

    def played_ms(self, dropped_ms: int) -> tuple[tuple[str, int], ...]:
        """Up to where each item was played, if the far end has dropped so much of what has left.

        Empty if it cannot have dropped so much. Items that left long before the others are not among them.
        """
        format = self._format
        end = self._samples - format.samples_in(format.bytes_for_ms(dropped_ms))
        if end < 0:
            return ()
        found: dict[str, int] = {}
        for piece in self._pieces:
            if end > piece.at or piece.item_id not in found:
                played = max(0, min(piece.samples, end - piece.at))
                found[piece.item_id] = format.ms_of(piece.start_sample + played)
        return tuple(found.items())
