"""Brings into the record how much of the agent's speech was heard, as the playback ledger knows it, and its text."""

from __future__ import annotations

from sessions.playback import PlaybackLedger
from sessions.record import Heard, Speaker
from sessions.transcript import Place, Transcript
from sessions.turns import TurnBook

# Speech that will have been played so soon counts as heard, so that its turn is written once and not twice.
SOON_MS = 60


class HeardText:
    """Keeps the record's account of what was heard in step with the ledger."""

    __slots__ = ("_book", "_foreseen", "_ledger", "_transcript")

    def __init__(self, transcript: Transcript, ledger: PlaybackLedger, book: TurnBook) -> None:
        self._transcript = transcript
        self._ledger = ledger
        self._book = book
        self._foreseen: dict[str, int] = {}  # items that count as heard already -> their length then

    def settle(self, now_ms: int) -> None:
        """Update all items that may still be played; a turn that changed is written again."""
        transcript = self._transcript
        for item_id in [*transcript.fresh, *self._begun(now_ms)]:
            self.settle_item(item_id, now_ms)
            if not transcript.places[item_id].said.final:
                continue
            transcript.fresh.discard(item_id)
            item = self._ledger.find(item_id)
            if item is None or item.settled(now_ms):
                transcript.playing.pop(item_id, None)
                self._foreseen.pop(item_id, None)

    def _begun(self, now_ms: int) -> list[str]:
        """The items whose playback has begun by then; those that wait behind the playing one are left out."""
        begun: list[str] = []
        for item_id in self._transcript.playing:
            item = self._ledger.find(item_id)
            if item is not None and item.begin_ms > now_ms and not item.cut:
                break
            begun.append(item_id)
        return begun

    def foresee(self, now_ms: int) -> bool:
        """Count speech that is nearly over as heard, which it will be unless the caller interrupts.

        Returns whether that is all speech: then nothing has to be noted when it is over.
        """
        begun = self._begun(now_ms + SOON_MS)
        whole = len(begun) == len(self._transcript.playing)
        for item_id in begun:
            place, item = self._transcript.places[item_id], self._ledger.find(item_id)
            if place.said.final and item is not None and item.settled(now_ms + SOON_MS):
                self._foreseen[item_id] = item.sent_ms
                self._settle(place, now_ms)
            else:
                whole = False
        return whole

    def settle_item(self, item_id: str, now_ms: int) -> None:
        """Update one item, however old it is."""
        place = self._transcript.places.get(item_id)
        if place is not None and place.said.speaker is Speaker.AGENT:
            self._settle(place, now_ms)

    def close(self, now_ms: int) -> None:
        """The call is over: nothing more is heard of any item."""
        self._ledger.interrupted(now_ms)
        for place in self._transcript.places.values():
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
        if item is None:  # it has words, and no sound came for it
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

    Models give no word times, so each character is taken to last equally long; the error is a word or so.
    """
    if sent_ms <= 0 or heard_ms >= sent_ms:
        return text
    cut = len(text) * heard_ms // sent_ms
    if cut <= 0:
        return ""
    if cut < len(text) and not text[cut].isspace():
        cut = max(text.rfind(" ", 0, cut), 0)
    return text[:cut].rstrip()
