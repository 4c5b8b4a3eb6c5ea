"""The sound of a conversation's items, as a Realtime server keeps it: each item's whole, or none of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from audio.formats import AudioFormat

# Of one item, so that a `conversation.item.retrieved` stays below the 1 MiB that some clients take in a frame.
MAX_ITEM_BYTES = 480_000
MAX_KEPT_BYTES = 8 * 1024 * 1024  # of all items together


@dataclass(slots=True)
class Track:
    """How much sound an item has had, and that sound while it is kept."""

    format: AudioFormat | None = None  # None: it has had none
    samples: int = 0
    kept: bytearray = field(default_factory=bytearray)
    cut: bool = False  # it is to get no more


class KeptSound:
    """Counts the sound of each item, and keeps it within the bounds: what is too much costs the oldest sound.

    An item is `opened` here before it gets sound.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._holding: OrderedDict[str, None] = OrderedDict()  # items whose sound is kept, the oldest first
        self._kept_bytes = 0

    def open(self, item_id: str) -> None:
        """The item is in the conversation."""
        self._tracks[item_id] = Track()

    def add(self, item_id: str, format: AudioFormat, payload: bytes) -> None:
        """A further run of an item's sound: counted, and kept while the bounds allow. An item may be gone by now."""
        track = self._tracks.get(item_id)
        if track is None or track.cut:
            return
        already = track.samples * format.sample_bytes
        track.format = format
        track.samples += format.samples_in(len(payload))
        if len(track.kept) < already or already + len(payload) > MAX_ITEM_BYTES:
            self._drop(item_id)  # part of an item's sound is of no use to anyone
            return
        track.kept += payload
        self._kept_bytes += len(payload)
        self._holding.setdefault(item_id)
        while self._kept_bytes > MAX_KEPT_BYTES:
            oldest = next(iter(self._holding))
            if oldest == item_id:  # what is being added fits by itself
                self._holding.move_to_end(item_id)
            else:
                self._drop(oldest)

    def length_ms(self, item_id: str) -> int:
        """How much sound the item has had, kept or not."""
        track = self._tracks[item_id]
        return track.format.ms_of(track.samples) if track.format is not None else 0

    def kept(self, item_id: str) -> bytes:
        """The item's sound, in the format in which it came; empty where it is not kept."""
        return bytes(self._tracks[item_id].kept)

    def cut(self, item_id: str, end_ms: int) -> None:
        """Forget an item's sound from there on, and whatever is still to come of it."""
        track = self._tracks[item_id]
        track.cut = True
        if track.format is None:
            return
        track.samples = min(track.samples, end_ms * track.format.rate_hz // 1000)
        self._kept_bytes -= len(track.kept)
        del track.kept[track.samples * track.format.sample_bytes :]
        self._kept_bytes += len(track.kept)

    def forget(self, item_id: str) -> None:
        """The item is out of the conversation."""
        self._drop(item_id)
        del self._tracks[item_id]

    def clear(self) -> None:
        """Forget all of it."""
        self._tracks.clear()
        self._holding.clear()
        self._kept_bytes = 0

    def _drop(self, item_id: str) -> None:
        track = self._tracks[item_id]
        self._holding.pop(item_id, None)
        self._kept_bytes -= len(track.kept)
        track.kept = bytearray()
