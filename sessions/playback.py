"""How much of the agent's speech was heard, of what was sent.

A client that owns playback reports where it stopped. For all others a clock runs from the moment at which the first
sound is sent, and reaches at most what was sent. Constant delays cancel, because sound and clears travel the same way.
A mark needs time for its way back, so it only shows whether playback was held up, and then moves the clock back.
Where a far end counts what it drops at a clear, that replaces the clock's estimate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from audio.departures import Departure
from audio.runs import FrameRun
from sessions.record import Heard, PlayedSpan
from sessions.round_trips import RoundTrips

# A client may report so long after an item should have ended that it stopped before the end.
REPORTS_LAG_MS = 1_000


@dataclass(slots=True)
class SpokenItem:
    """How much of one item was sent, and how much of that was heard, as far as is known."""

    item_id: str
    number: int  # in the order of sending
    begin_ms: int  # when its playback began, at the earliest
    rate_hz: int
    samples: int = 0
    paused_ms: int = 0  # for how long its playback was held up after it had begun
    left_ms: int | None = None  # how much has left the play-out; None as long as no play-out has said
    kept_ms: int | None = None  # how much of that the far end plays whatever follows
    known_ms: int | None = None  # reported, or what the clock showed when it was cut
    label: Heard = Heard.ESTIMATED  # how it is known what was heard
    cut: bool = False  # its playback has been stopped

    @property
    def sent_ms(self) -> int:
        """How much of it was sent, heard or not."""
        return self.samples * 1000 // self.rate_hz

    def plays_at_ms(self, position_ms: int) -> int:
        """When this position is played, if nothing holds playback up any more."""
        return self.begin_ms + self.paused_ms + position_ms

    def heard_ms(self, now_ms: int) -> int:
        """How much of it has been heard by now."""
        if self.known_ms is not None:
            return self.known_ms
        sent_ms = self.sent_ms if self.left_ms is None else self.left_ms
        return max(0, min(sent_ms, now_ms - self.plays_at_ms(0)))

    def settled(self, now_ms: int) -> bool:
        """Whether its playback has ended, so that time alone does not change how much was heard."""
        if self.cut:
            return True
        waits = self.left_ms is not None and self.left_ms < self.sent_ms
        return not waits and self.plays_at_ms(self.sent_ms) <= now_ms

    def stop(self, now_ms: int) -> None:
        """Stop its playback now."""
        self.known_ms = self.heard_ms(now_ms) if self.kept_ms is None else self.kept_ms
        self.cut = True


class PlaybackLedger:
    """Tells speech that was heard from speech that was only sent, for truncation and the record."""

    __slots__ = (
        "_items",
        "_open",
        "_plays_until_ms",
        "_round_trips",
    )

    def __init__(self) -> None:
        self._items: dict[str, SpokenItem] = {}
        # The items that may not have ended, in the order of playback; a long call has hundreds of others.
        self._open: OrderedDict[str, SpokenItem] = OrderedDict()
        self._plays_until_ms = 0.0  # when everything that was sent will have been played, unless it is stopped
        self._round_trips = RoundTrips()

    def sent(self, item_id: str, samples: int, rate_hz: int, now_ms: int) -> float:
        """Note speech that is sent now. Returns when its first sample is played, at the earliest."""
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
        if not item.cut:  # else this is late sound, which is never heard
            self._plays_until_ms = starts_ms + samples * 1000 / rate_hz
            if item_id not in self._open:
                self._open[item_id] = item
        return starts_ms

    def sent_run(self, item_id: str, run: FrameRun) -> None:
        """Note speech of an item whose frames were each sent when they arrived."""
        rate_hz, sample_bytes = run.format.rate_hz, run.format.sample_bytes
        starts_ms = self.sent(item_id, run.samples, rate_hz, run.at_ms[0])
        if self._items[item_id].cut:
            return
        until_ms = starts_ms
        for payload, at_ms in zip(run.payloads, run.at_ms, strict=True):
            until_ms = (until_ms if until_ms > at_ms else at_ms) + len(payload) // sample_bytes * 1000 / rate_hz
        self._plays_until_ms = until_ms

    def reported(self, item_id: str, heard_ms: int, now_ms: int) -> bool:
        """Note how much of an item the client has played before it stopped. False if no such item was sent."""
        item = self._items.get(item_id)
        if item is None:
            return False
        if not item.cut and now_ms < item.begin_ms + item.sent_ms + REPORTS_LAG_MS:
            # The client drops the rest of its queue with it. When the item is long over, there is none.
            self.interrupted(now_ms)
        item.known_ms = max(0, min(heard_ms, item.sent_ms))
        item.label = Heard.REPORTED
        item.cut = True
        return True

    def interrupted(self, now_ms: int) -> None:
        """Playback stops now: what has not been played is never heard."""
        for item in self._open.values():
            if not item.settled(now_ms):
                item.stop(now_ms)
        self._open.clear()
        self._plays_until_ms = min(self._plays_until_ms, now_ms)

    def left(self, departures: Iterable[Departure]) -> None:
        """Note what has left the play-out, in order: nothing is played before that."""
        for departure in departures:
            item = self._items.get(departure.item_id)
            if item is None or item.cut:
                continue
            self._hold_up(item, departure.position_ms, int(departure.at_ms))
            item.left_ms = max(item.left_ms or 0, min(departure.end_ms, item.sent_ms))
            if departure.kept:
                item.kept_ms = item.left_ms

    def echoed(self, item_id: str, position_ms: int, now_ms: int) -> SpokenItem | None:
        """Take a mark that the far end has echoed. Returns its item; None if that is unknown or was cut.

        It moves the clock back by as much as it comes later than marks usually do, and never forward.
        """
        item = self._items.get(item_id)
        if item is None or item.cut:
            return None
        position_ms = max(0, min(position_ms, item.sent_ms))
        plays_at_ms = item.plays_at_ms(position_ms)
        late_ms = int(self._round_trips.late_ms(now_ms - plays_at_ms))
        self._hold_up(item, position_ms, plays_at_ms + late_ms)
        item.label = Heard.MARKED
        self._open.setdefault(item_id, item)
        return item

    def dropped(self, item_id: str, played_ms: int) -> bool:
        """Note up to where a far end had played an item when it dropped all that it held. False: nothing changes.

        An item that counted as over, and of which something was dropped, was stopped as well.
        """
        item = self._items.get(item_id)
        if item is None:
            return False
        left_ms = item.sent_ms if item.left_ms is None else item.left_ms
        played_ms = max(0, min(played_ms, left_ms))
        if not item.cut and played_ms == left_ms:
            return False
        item.known_ms, item.label, item.cut = played_ms, Heard.REPORTED, True
        return True

    def _hold_up(self, item: SpokenItem, position_ms: int, at_ms: int) -> None:
        """This position of an item is played at this time, and not before: what follows it is later by the same."""
        late_ms = at_ms - item.plays_at_ms(position_ms)
        if late_ms <= 0:
            return
        if position_ms == 0:
            item.begin_ms += late_ms
        else:
            item.paused_ms += late_ms
        ends_ms = item.plays_at_ms(item.sent_ms)
        for other in self._open.values():
            if other.number > item.number and (not other.left_ms or other.begin_ms >= at_ms):
                other.begin_ms = max(other.begin_ms, ends_ms)
                ends_ms = other.plays_at_ms(other.sent_ms)
        self._plays_until_ms = max(self._plays_until_ms, ends_ms)

    def find(self, item_id: str) -> SpokenItem | None:
        """What is known of this item; None if nothing of it was sent."""
        return self._items.get(item_id)

    def sounding(self, now_ms: int) -> SpokenItem | None:
        """The item that is being played now, if any."""
        if now_ms >= self._plays_until_ms + REPORTS_LAG_MS:
            return None
        sounding = [item for item in self._open.values() if item.begin_ms <= now_ms and not item.settled(now_ms)]
        return max(sounding, key=lambda item: item.number, default=None)

    @property
    def plays_until_ms(self) -> int:
        """When everything that was sent will have been played, unless it is stopped."""
        return ceil(self._plays_until_ms)

    def spans(self, now_ms: int) -> tuple[PlayedSpan, ...]:
        """When each item began to play and how much of it was heard, in the order of sending."""
        return tuple(PlayedSpan(item.item_id, item.begin_ms, item.heard_ms(now_ms)) for item in self._items.values())
