"""How much of the agent's speech was heard: the ledger's word, brought into the record with the text it goes with."""

from __future__ import annotations

from sessions.playback import PlaybackLedger
from sessions.record import Heard, Speaker
from sessions.talk import Place, Talk
from sessions.turns import TurnBook

SOON_MS = 60  # what will have sounded by then is taken for heard: the turn is written once, and not twice


class Hearing:
    """Keeps what the record says was heard of the agent's items up to what the ledger knows. Times are `now_ms`."""

    __slots__ = ("_book", "_foreseen", "_ledger", "_talk")

    def __init__(self, talk: Talk, ledger: PlaybackLedger, book: TurnBook) -> None:
        self._talk = talk
        self._ledger = ledger
        self._book = book
        self._foreseen: dict[str, int] = {}  # items that are taken for heard, and how much of each had been sent then

    def settle(self, now_ms: int) -> None:
        """Bring all items that may still sound up to the ledger; a turn that changed is written again."""
        talk = self._talk
        for item_id in [*talk.fresh, *self._begun(now_ms)]:
            self.settle_item(item_id, now_ms)
            if not talk.places[item_id].said.final:
                continue
            talk.fresh.discard(item_id)
            item = self._ledger.find(item_id)
            if item is None or item.settled(now_ms):
                talk.playing.pop(item_id, None)
                self._foreseen.pop(item_id, None)

    def _begun(self, now_ms: int) -> list[str]:
        """The items of which something has changed by time: not the hundreds that wait behind the one that sounds."""
        begun: list[str] = []
        for item_id in self._talk.playing:
            item = self._ledger.find(item_id)
            if item is not None and item.begin_ms > now_ms and not item.cut:
                break
            begun.append(item_id)
        return begun

    def foresee(self, now_ms: int) -> bool:
        """Take speech that is nearly over for heard, as it will be unless the caller interrupts.

        Returns whether that is all of it: then there is nothing to note when it is over.
        """
        begun = self._begun(now_ms + SOON_MS)
        whole = len(begun) == len(self._talk.playing)
        for item_id in begun:
            place, item = self._talk.places[item_id], self._ledger.find(item_id)
            if place.said.final and item is not None and item.settled(now_ms + SOON_MS):
                self._foreseen[item_id] = item.sent_ms
                self._settle(place, now_ms)
            else:
                whole = False
        return whole

    def settle_item(self, item_id: str, now_ms: int) -> None:
        """The same for one item, however old."""
        place = self._talk.places.get(item_id)
        if place is not None and place.said.speaker is Speaker.AGENT:
            self._settle(place, now_ms)

    def close(self, now_ms: int) -> None:
        """The call is over: nothing more is heard."""
        self._ledger.interrupted(now_ms)
        for place in self._talk.places.values():
            said = place.said
            if said.speaker is Speaker.AGENT:
                if not said.final:
                    said.final = True
                    self._book.touch(place.turn)
                self._settle(place, now_ms)

    def _settle(self, place: Place, now_ms: int) -> None:
        said = place.said
        if not said.spoken:
            return
        item = self._ledger.find(said.item_id)
        if item is None:  # words whose sound never came
            heard_ms, sent_ms, label = 0, 0, Heard.ESTIMATED
        else:
            heard_ms, sent_ms, label = item.heard_ms(now_ms), item.sent_ms, item.label
            if not item.cut and self._foreseen.get(said.item_id) == sent_ms:
                heard_ms = sent_ms
            said.begin_ms = self._book.since_start_ms(item.begin_ms)
        heard_text = heard_prefix(said.text, heard_ms, sent_ms) if sent_ms else ""
        if (said.heard_ms, said.sent_ms, said.heard, said.heard_text) != (heard_ms, sent_ms, label, heard_text):
            said.heard_ms, said.sent_ms, said.heard, said.heard_text = heard_ms, sent_ms, label, heard_text
            self._book.touch(place.turn)


def heard_prefix(text: str, heard_ms: int, sent_ms: int) -> str:
    """The part of a transcript that was heard, cut at the last whole word.

    Speech is taken to run evenly through its text, which errs by a word or so: models give no word times.
    """
    if sent_ms <= 0 or heard_ms >= sent_ms:
        return text
    cut = len(text) * heard_ms // sent_ms
    if cut <= 0:
        return ""
    if cut < len(text) and not text[cut].isspace():
        cut = max(text.rfind(" ", 0, cut), 0)
    return text[:cut].rstrip()
