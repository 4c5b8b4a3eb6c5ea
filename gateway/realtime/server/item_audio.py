"""The sound of a conversation's items in a Realtime server: an item's sound is kept whole or not at all."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from audio.formats import AudioFormat

# Of one item, so that a `conversation.item.retrieved` stays below 1 MiB, the largest frame that some clients accept.
MAX_ITEM_BYTES = 480_000
MAX_KEPT_BYTES = 8 * 1024 * 1024  # of all items together


@dataclass(slots=True)
class Track:
    """How much sound an item has had, and the sound itself while it is kept."""

    format: AudioFormat | None = None  # None: the item has had no sound
    samples: int = 0
    kept: bytearray = field(default_factory=bytearray)
    cut: bool = False  # whether further sound is ignored


class ItemAudio:
    """Counts the sound of each item, and keeps it within bounds: past them, the oldest items lose their sound.

    `open` must be called for an item before sound is added to it.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._kept_items: OrderedDict[str, None] = OrderedDict()  # items whose sound is kept, oldest first
        self._kept_bytes = 0

    def open(self, item_id: str) -> None:
        """Begin to count an item's sound."""
        self._tracks[item_id] = Track()

    def add(self, item_id: str, format: AudioFormat, payload: bytes) -> None:
        """Add a run to an item's sound: it is counted, and kept within the bounds. Does nothing for a deleted item."""
        track = self._tracks.get(item_id)
        if track is None or track.cut:
            return
        already = track.samples * format.sample_bytes
        track.format = format
        track.samples += format.samples_in(len(payload))
        if len(track.kept) < already or already + len(payload) > MAX_ITEM_BYTES:
            self._drop(item_id)  # an incomplete sound must not be shown as the item's sound
            return
        track.kept += payload
        self._kept_bytes += len(payload)
        self._kept_items.setdefault(item_id)
        while self._kept_bytes > MAX_KEPT_BYTES:
            oldest = next(iter(self._kept_items))
            if oldest == item_id:  # this item fits alone, so another one is dropped
                self._kept_items.move_to_end(item_id)
            else:
                self._drop(oldest)

    def length_ms(self, item_id: str) -> int:
        """How many ms of sound the item has had, kept or not."""
        track = self._tracks[item_id]
        return track.format.ms_of(track.samples) if track.format is not None else 0

    def kept(self, item_id: str) -> bytes:
        """The item's sound, in the format in which it was added; empty where it is not kept."""
        return bytes(self._tracks[item_id].kept)

    def cut(self, item_id: str, end_ms: int) -> None:
        """Drop an item's sound after `end_ms`, and ignore its further sound."""
        track = self._tracks[item_id]
        track.cut = True
        if track.format is None:
            return
        track.samples = min(track.samples, end_ms * track.format.rate_hz // 1000)
        self._kept_bytes -= len(track.kept)
        del track.kept[track.samples * track.format.sample_bytes :]
        self._kept_bytes += len(track.kept)

    def forget(self, item_id: str) -> None:
        """Remove an item."""
        self._drop(item_id)
        del self._tracks[item_id]

    def clear(self) -> None:
        """Remove all items."""
        self._tracks.clear()
        self._kept_items.clear()
        self._kept_bytes = 0

    def _drop(self, item_id: str) -> None:
        track = self._tracks[item_id]
        self._kept_items.pop(item_id, None)
        self._kept_bytes -= len(track.kept)
        track.kept = bytearray()
