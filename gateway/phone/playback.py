"""The caller's ear: plays what the agent sends on one timeline, and stops in the middle when the caller barges in."""

from __future__ import annotations

from dataclasses import dataclass

RATE_HZ = 24_000
SAMPLE_BYTES = 2


@dataclass(slots=True)
class Played:
    """A run of one item's sound: it begins to sound at `begin_ms`; `samples` shrink when it is cut."""

    item_id: str
    begin_ms: int
    pcm: bytearray


class Playback:
    """Schedules agent speech as a loudspeaker would: at once, or behind what is still sounding. Times in ms."""

    def __init__(self) -> None:
        self.runs: list[Played] = []
        self._until_ms = 0.0
        self._coming: str | None = None  # the item of which more is to come

    @property
    def until_ms(self) -> float:
        """When all that was taken has sounded."""
        return self._until_ms

    def take(self, item_id: str, pcm: bytes, now_ms: int) -> int:
        """Sound of an item, to be played next. Returns when it begins to sound."""
        self._coming = item_id
        last = self.runs[-1] if self.runs else None
        begins_ms = max(self._until_ms, now_ms)
        if last is not None and last.item_id == item_id and begins_ms == self._until_ms:
            last.pcm += pcm
        else:
            self.runs.append(Played(item_id, round(begins_ms), bytearray(pcm)))
        self._until_ms = begins_ms + len(pcm) / SAMPLE_BYTES / RATE_HZ * 1000
        return round(begins_ms)

    def complete(self) -> None:
        """No more sound of the item that came last is to come."""
        self._coming = None

    def cut(self, now_ms: int) -> tuple[str, int] | None:
        """Stop now. Returns the item that was cut and how many ms of it were heard; None if no speech was under way.

        An item of which more is to come is under way even while nothing sounds: speech that is sent as fast as it is
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
        under_way, self._coming = sounding or self._coming, None
        return None if under_way is None else (under_way, self._heard_ms(under_way))

    def _heard_ms(self, item_id: str) -> int:
        held = sum(len(run.pcm) for run in self.runs if run.item_id == item_id)
        return held // SAMPLE_BYTES * 1000 // RATE_HZ

    def track(self, length_ms: int) -> bytes:
        """All that sounded, on one track of this length from time 0."""
        track = bytearray(length_ms * RATE_HZ // 1000 * SAMPLE_BYTES)
        for run in self.runs:
            at = run.begin_ms * RATE_HZ // 1000 * SAMPLE_BYTES
            end = min(len(track), at + len(run.pcm))
            if end > at:
                track[at:end] = run.pcm[: end - at]
        return bytes(track)
