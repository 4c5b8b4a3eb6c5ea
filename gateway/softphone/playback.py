"""Plays the agent's sound on one timeline, and stops it when the caller barges in."""

from __future__ import annotations

from dataclasses import dataclass

RATE_HZ = 24_000
SAMPLE_BYTES = 2


@dataclass(slots=True)
class Played:
    """A run of one item's sound that begins at `begin_ms`. A cut shortens `pcm`."""

    item_id: str
    begin_ms: int
    pcm: bytearray


class Playback:
    """Schedules agent speech like a loudspeaker: at once, or after the speech that is still playing. Times in ms."""

    def __init__(self) -> None:
        self.runs: list[Played] = []
        self._until_ms = 0.0
        self._unfinished: str | None = None  # the item of which more sound will come

    @property
    def until_ms(self) -> float:
        """When all sound so far will have been played."""
        return self._until_ms

    def take(self, item_id: str, pcm: bytes, now_ms: int) -> int:
        """Schedule an item's sound after the sound so far. Returns when it begins."""
        self._unfinished = item_id
        last = self.runs[-1] if self.runs else None
        begins_ms = max(self._until_ms, now_ms)
        if last is not None and last.item_id == item_id and begins_ms == self._until_ms:
            last.pcm += pcm
        else:
            self.runs.append(Played(item_id, round(begins_ms), bytearray(pcm)))
        self._until_ms = begins_ms + len(pcm) / SAMPLE_BYTES / RATE_HZ * 1000
        return round(begins_ms)

    def complete(self) -> None:
        """Note that the latest item has no more sound."""
        self._unfinished = None

    def cut(self, now_ms: int) -> tuple[str, int] | None:
        """Stop playing. Returns the item that was cut and how many ms of it were heard; None if none was playing.

        An item of which more sound will come counts as playing even in a gap: speech that is sent no faster than it is
        spoken leaves a gap wherever the network is late.
        """
        sounding: str | None = None
        for run in self.runs:
            kept = max(0, now_ms - run.begin_ms) * RATE_HZ // 1000 * SAMPLE_BYTES
            if kept < len(run.pcm):
                del run.pcm[kept:]
                sounding = sounding or run.item_id
        self.runs = [run for run in self.runs if run.pcm]
        self._until_ms = min(self._until_ms, now_ms)
        cut_item, self._unfinished = sounding or self._unfinished, None
        return None if cut_item is None else (cut_item, self._heard_ms(cut_item))

    def _heard_ms(self, item_id: str) -> int:
        held = sum(len(run.pcm) for run in self.runs if run.item_id == item_id)
        return held // SAMPLE_BYTES * 1000 // RATE_HZ

    def track(self, length_ms: int) -> bytes:
        """All sound that was played, on one track of `length_ms` from time 0."""
        track = bytearray(length_ms * RATE_HZ // 1000 * SAMPLE_BYTES)
        for run in self.runs:
            at = run.begin_ms * RATE_HZ // 1000 * SAMPLE_BYTES
            end = min(len(track), at + len(run.pcm))
            if end > at:
                track[at:end] = run.pcm[: end - at]
        return bytes(track)
