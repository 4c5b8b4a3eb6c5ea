"""What of the agent's speech was heard, as against sent.

Where a client owns playback it reports where it stopped; where a far end echoes marks, they tell; else the ledger knows
only what was sent and how long it can have been playing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from audio.runs import FrameRun
from sessions.record import Heard, PlayedSpan

MARKS_LAG_MS = 1_000  # the last mark of an item is waited for so long after the item should have ended


@dataclass(slots=True)
class SpokenItem:
    """One item of the agent's speech: how much of it was sent, and how much of that was heard, as far as is known."""

    item_id: str
    number: int  # in the order of sending
    begin_ms: int  # when it began to sound, at the earliest
    rate_hz: int
    samples: int = 0
    known_ms: int | None = None  # reported, marked, or estimated when it was cut
    label: Heard = Heard.ESTIMATED  # how we know
    cut: bool = False  # it plays no further

    @property
    def sent_ms(self) -> int:
        """How much of it was sent, heard or not."""
        return self.samples * 1000 // self.rate_hz

    def heard_ms(self, now_ms: int) -> int:
        """How much of it has been heard by now."""
        if self.known_ms is not None:
            return self.known_ms
        return max(0, min(self.sent_ms, now_ms - self.begin_ms))

    def settled(self, now_ms: int) -> bool:
        """Whether it has ended: time alone changes nothing any more about how much of it was heard."""
        if self.cut:
            return True
        lags = self.label is Heard.MARKED and self.known_ms != self.sent_ms
        return self.begin_ms + self.sent_ms + (MARKS_LAG_MS if lags else 0) <= now_ms

    def stop(self, now_ms: int) -> None:
        """It plays no further than now; a mark is a lower bound, and better than a guess."""
        self.known_ms = self.heard_ms(now_ms)
        self.cut = True


class PlaybackLedger:
    """Tells heard speech from sent speech, so that truncation and the record land on what the caller heard."""

    __slots__ = (
        "_epoch",
        "_items",
        "_open",
        "_plays_until_ms",
    )

    def __init__(self) -> None:
        self._items: dict[str, SpokenItem] = {}
        # Those that may not have ended, in the order of playing: a long call has hundreds that have.
        self._open: OrderedDict[str, SpokenItem] = OrderedDict()
        self._plays_until_ms = 0.0  # when all that was sent will have been played, if nothing stops it
        self._epoch = 0  # how many clears so far

    def sent(self, item_id: str, samples: int, rate_hz: int, now_ms: int) -> float:
        """Note speech sent now. Returns when its first sample begins to sound, at the earliest."""
        item = self._items.get(item_id)
        starts_ms = self._plays_until_ms if self._plays_until_ms > now_ms else now_ms
        if item is None:
            item = self._items[item_id] = SpokenItem(item_id, len(self._items), int(starts_ms), rate_hz)
            while self._open and next(iter(self._open.values())).settled(now_ms):
                self._open.popitem(last=False)
        elif item.rate_hz != rate_hz:
            item.samples = item.samples * rate_hz // item.rate_hz
            item.rate_hz = rate_hz
        item.samples += samples
        if not item.cut:  # else it is late sound: sent, never heard
            self._plays_until_ms = starts_ms + samples * 1000 / rate_hz
            if item_id not in self._open:
                self._open[item_id] = item
        return starts_ms

    def sent_run(self, item_id: str, run: FrameRun) -> None:
        """Note speech of an item, each frame sent when it arrived."""
        rate_hz, sample_bytes = run.format.rate_hz, run.format.sample_bytes
        starts_ms = self.sent(item_id, run.samples, rate_hz, run.at_ms[0])
        if self._items[item_id].cut:
            return
        until_ms = starts_ms
        for payload, at_ms in zip(run.payloads, run.at_ms, strict=True):
            until_ms = (until_ms if until_ms > at_ms else at_ms) + len(payload) // sample_bytes * 1000 / rate_hz
        self._plays_until_ms = until_ms

    def reported(self, item_id: str, heard_ms: int, now_ms: int) -> bool:
        """The client says how much it played before it stopped. False if no such item was sent."""
        item = self._items.get(item_id)
        if item is None:
            return False
        if not item.cut and now_ms < item.begin_ms + item.sent_ms + MARKS_LAG_MS:
            self.interrupted(now_ms)  # the rest of its queue goes with it; one that is long over has none
        item.known_ms = max(0, min(heard_ms, item.sent_ms))
        item.label = Heard.REPORTED
        item.cut = True
        return True

    def interrupted(self, now_ms: int) -> None:
        """Playback stops now: what has not sounded yet will not."""
        for item in self._open.values():
            if not item.settled(now_ms):
                item.stop(now_ms)
        self._open.clear()
        self._plays_until_ms = min(self._plays_until_ms, now_ms)

    def cleared(self, now_ms: int) -> None:
        """The far end was told to drop what it holds; marks from before no longer mean that sound was played."""
        self.interrupted(now_ms)
        self._epoch += 1

    def mark_name(self, item_id: str) -> str:
        """A name for a mark behind all that was sent of this item so far."""
        item = self._items.get(item_id)
        return f"{self._epoch}:{item.sent_ms if item else 0}:{item_id}"

    def echoed(self, name: str) -> SpokenItem | None:
        """A mark came back. Returns its item; names that are not ours, or are from before a clear, mean nothing."""
        epoch, _, rest = name.partition(":")
        end_ms, _, item_id = rest.partition(":")
        item = self._items.get(item_id)
        if item is None or epoch != str(self._epoch) or item.cut or not _is_number(end_ms):
            return None
        marked_ms = item.known_ms or 0
        item.known_ms = max(marked_ms, min(int(end_ms), item.sent_ms))
        item.label = Heard.MARKED
        self._open.setdefault(item_id, item)  # its last mark is waited for
        return item

    def find(self, item_id: str) -> SpokenItem | None:
        """What is known of this item; None if nothing of it was sent."""
        return self._items.get(item_id)

    def sounding(self, now_ms: int) -> SpokenItem | None:
        """The item that the caller hears now, if any."""
        if now_ms >= self._plays_until_ms + MARKS_LAG_MS:
            return None
        sounding = [item for item in self._open.values() if item.begin_ms <= now_ms and not item.settled(now_ms)]
        return max(sounding, key=lambda item: item.number, default=None)

    @property
    def plays_until_ms(self) -> int:
        """When all that was sent will have been played, if nothing stops it."""
        return ceil(self._plays_until_ms)

    def spans(self, now_ms: int) -> tuple[PlayedSpan, ...]:
        """Where each item lies in time and how much of it was heard, in the order of playing."""
        return tuple(PlayedSpan(item.item_id, item.begin_ms, item.heard_ms(now_ms)) for item in self._items.values())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12
