"""What was said, item by item, each in the place where it began, and how much of the agent's speech was heard.

The text of a caller's speech often arrives after the answer it caused: its place is taken when the speech begins, and
filled when the text comes.
"""

from __future__ import annotations

from sessions.playback import PlaybackLedger, heard_prefix
from sessions.record import Speaker, Turn, Utterance
from sessions.turns import TurnBook

MAX_EARLY = 16  # texts that came before the item they belong to


class Talk:
    """Keeps the utterances of one call, in the turns of its book."""

    def __init__(self, book: TurnBook) -> None:
        self._book = book
        self._place: dict[str, tuple[Turn, Utterance]] = {}
        self._early: dict[str, str] = {}  # texts of caller's items that are not known yet
        self._worded: set[str] = set()  # responses
        self._playing: set[str] = set()  # spoken items of the agent of which more may yet be heard, or written

    @property
    def items(self) -> int:
        """How many items have their place."""
        return len(self._place)

    def knows(self, item_id: str) -> bool:
        """Whether an item of this id has its place."""
        return item_id in self._place

    # ---- the caller

    def caller_spoken(self, item_id: str, now_ms: int) -> None:
        """The place of something the caller says, taken on first mention."""
        if item_id not in self._place:
            said = self._caller(item_id, now_ms, spoken=True)
            if item_id in self._early:
                turn = self._place[item_id][0]
                said.text = said.heard_text = self._book.fitted(turn, self._early.pop(item_id))
                said.final = True

    def caller_typed(self, item_id: str, text: str, images: int, now_ms: int) -> None:
        """Something the caller types, once."""
        if item_id not in self._place:
            said = self._caller(item_id, now_ms, spoken=False)
            said.text = said.heard_text = self._book.fitted(self._place[item_id][0], text)
            said.images = images

    def _caller(self, item_id: str, now_ms: int, *, spoken: bool) -> Utterance:
        turn = self._book.for_caller(now_ms)
        begin_ms = self._book.since_start_ms(now_ms)
        said = Utterance(item_id, Speaker.CALLER, "", "", spoken, begin_ms=begin_ms, final=not spoken)
        turn.entries.append(said)
        self._place[item_id] = (turn, said)
        return said

    def caller_text(self, item_id: str, text: str, *, final: bool) -> None:
        """The words of a caller's item, or a further part of them."""
        place = self._place.get(item_id)
        if place is None:
            if final and len(self._early) < MAX_EARLY:
                self._early[item_id] = text
            return
        turn, said = place
        if said.speaker is not Speaker.CALLER or not said.spoken or (said.final and not final):
            return
        if final:
            self._book.give_back(turn, said.text)
        said.text = self._book.fitted(turn, text) if final else said.text + self._book.fitted(turn, text)
        said.heard_text = said.text
        said.final = final
        self._book.touch(turn)

    # ---- the agent

    def agent_item(self, response_id: str, item_id: str, now_ms: int, *, spoken: bool) -> Utterance | None:
        """The place of something the agent says, taken on first mention; None if the response has no turn."""
        place = self._place.get(item_id)
        if place is not None:
            return place[1] if place[1].speaker is Speaker.AGENT else None
        turn = self._book.turn_of(response_id)
        if turn is None:
            return None
        begin_ms = self._book.since_start_ms(now_ms)
        final = self._book.is_over(response_id)
        said = Utterance(item_id, Speaker.AGENT, "", "", spoken, begin_ms=begin_ms, final=final)
        turn.entries.append(said)
        self._place[item_id] = (turn, said)
        self._book.grow(turn, response_id)
        return said

    def agent_sounds(self, response_id: str, item_id: str, now_ms: int) -> None:
        """An item of the agent begins to bring sound, or goes on after a break."""
        said = self.agent_item(response_id, item_id, now_ms, spoken=True)
        if said is not None:
            said.spoken = True
            self._playing.add(item_id)
            self._book.grow(self._place[item_id][0], response_id)

    def agent_words(self, response_id: str, item_id: str, text: str, now_ms: int, *, spoken: bool) -> None:
        """A further piece of what the agent says or writes."""
        said = self.agent_item(response_id, item_id, now_ms, spoken=spoken)
        if said is None:
            return
        said.text += self._book.fitted(self._place[item_id][0], text)
        if spoken:
            said.spoken = True
            self._playing.add(item_id)
        elif item_id not in self._playing:
            said.spoken = False
            said.heard_text = said.text
        self._worded.add(response_id)
        self._book.grow(self._place[item_id][0], response_id)

    def has_words(self, response_id: str) -> bool:
        """Whether this response said or wrote anything."""
        return response_id in self._worded

    def interrupt_item(self, item_id: str) -> None:
        """The caller cut this item of the agent short."""
        place = self._place.get(item_id)
        if place is not None and place[1].speaker is Speaker.AGENT:
            self._book.interrupt(place[0])

    # ---- what was heard

    def settle(self, ledger: PlaybackLedger, now_ms: int) -> None:
        """Bring what was heard of the agent's items up to the ledger; a turn that changed is written again."""
        for item_id in tuple(self._playing):
            self.settle_item(item_id, ledger, now_ms)
            if self._place[item_id][1].final and ledger.settled(item_id, now_ms):
                self._playing.discard(item_id)

    def settle_item(self, item_id: str, ledger: PlaybackLedger, now_ms: int) -> None:
        """The same for one item, however old."""
        place = self._place.get(item_id)
        if place is not None and place[1].speaker is Speaker.AGENT:
            self._settle(*place, ledger, now_ms)

    def close(self, ledger: PlaybackLedger, now_ms: int) -> None:
        """The call is over: nothing more is heard."""
        ledger.interrupted(now_ms)
        for turn, said in self._place.values():
            if said.speaker is Speaker.AGENT:
                if not said.final:
                    said.final = True
                    self._book.touch(turn)
                self._settle(turn, said, ledger, now_ms)

    def _settle(self, turn: Turn, said: Utterance, ledger: PlaybackLedger, now_ms: int) -> None:
        if not said.spoken:
            return
        heard = ledger.heard(said.item_id, now_ms)
        sent_ms = ledger.sent_ms(said.item_id)
        heard_text = heard_prefix(said.text, heard.ms, sent_ms) if sent_ms else ""
        begin_ms = ledger.begin_ms(said.item_id)
        if begin_ms is not None:
            said.begin_ms = self._book.since_start_ms(begin_ms)
        if (said.heard_ms, said.sent_ms, said.heard, said.heard_text) != (heard.ms, sent_ms, heard.label, heard_text):
            said.heard_ms, said.sent_ms, said.heard, said.heard_text = heard.ms, sent_ms, heard.label, heard_text
            self._book.touch(turn)
