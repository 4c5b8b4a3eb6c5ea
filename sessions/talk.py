"""What was said, item by item, each in the place where it began.

The text of a caller's speech often arrives after the answer it caused: its place is taken when the speech begins, and
filled when the text comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.record import Speaker, Turn, Utterance
from sessions.room import WordRoom
from sessions.turns import AnswerBook, TurnBook

MAX_EARLY = 16  # texts that came before the item they belong to


@dataclass(frozen=True, slots=True)
class Place:
    """Where something said stands in the record."""

    turn: Turn
    said: Utterance


class Talk:
    """Writes the utterances of one call into the turns of its book, as far as the record has room for their words."""

    def __init__(self, book: TurnBook, answers: AnswerBook, room: WordRoom) -> None:
        self._book = book
        self._answers = answers
        self._room = room
        self.places: dict[str, Place] = {}  # by item, in the order of first mention
        # Spoken items of the agent of which more may yet be heard, or written, in the order of their first sound; True
        # once they have had some.
        self.playing: dict[str, bool] = {}
        self.fresh: set[str] = set()  # those among them that may have got more than the record has of them
        self._early: dict[str, str] = {}  # texts of caller's items that are not known yet
        self._worded: set[str] = set()  # responses

    # ---- the caller

    def caller_spoken(self, item_id: str, now_ms: int) -> None:
        """The place of something the caller says, taken on first mention."""
        if item_id not in self.places:
            turn, said = self._caller(item_id, now_ms, spoken=True)
            if item_id in self._early:
                said.text = said.heard_text = self._room.fitted(turn, self._early.pop(item_id))
                said.final = True

    def caller_typed(self, item_id: str, text: str, images: int, now_ms: int, *, spoken: bool) -> None:
        """Something the caller types, or says in a message of its own, once."""
        if item_id not in self.places:
            turn, said = self._caller(item_id, now_ms, spoken=spoken)
            said.text = said.heard_text = self._room.fitted(turn, text)
            said.images = images

    def _caller(self, item_id: str, now_ms: int, *, spoken: bool) -> tuple[Turn, Utterance]:
        turn = self._book.for_caller(now_ms)
        begin_ms = self._book.since_start_ms(now_ms)
        said = Utterance(item_id, Speaker.CALLER, "", "", spoken, begin_ms=begin_ms, final=not spoken)
        turn.entries.append(said)
        self.places[item_id] = Place(turn, said)
        return turn, said

    def withdraw(self, item_id: str) -> None:
        """It was not said after all: the model refused the message."""
        place = self.places.pop(item_id, None)
        if place is None:
            return
        turn, said = place.turn, place.said
        turn.entries = [entry for entry in turn.entries if entry is not said]
        self._room.give_back(turn, said.text)
        self._book.touch(turn)

    def caller_text(self, item_id: str, text: str, *, final: bool) -> None:
        """The words of a caller's item, or a further part of them."""
        place = self.places.get(item_id)
        if place is None:
            if final and len(self._early) < MAX_EARLY:
                self._early[item_id] = text
            return
        turn, said = place.turn, place.said
        if said.speaker is not Speaker.CALLER or not said.spoken or (said.final and not final):
            return
        if final:
            self._room.give_back(turn, said.text)
        said.text = self._room.fitted(turn, text) if final else said.text + self._room.fitted(turn, text)
        said.heard_text = said.text
        said.final = final
        self._book.touch(turn)

    # ---- the agent

    def agent_item(self, response_id: str, item_id: str, now_ms: int, *, spoken: bool) -> Utterance | None:
        """The place of something the agent says, taken on first mention; None if the response has no turn."""
        place = self.places.get(item_id)
        if place is not None:
            return place.said if place.said.speaker is Speaker.AGENT else None
        turn = self._answers.turn_of(response_id)
        if turn is None:
            return None
        begin_ms = self._book.since_start_ms(now_ms)
        final = self._answers.is_over(response_id)
        said = Utterance(item_id, Speaker.AGENT, "", "", spoken, begin_ms=begin_ms, final=final)
        turn.entries.append(said)
        self.places[item_id] = Place(turn, said)
        self._answers.grow(turn, response_id)
        return said

    def agent_sounds(self, response_id: str, item_id: str, now_ms: int) -> None:
        """An item of the agent begins to bring sound, or goes on after a break."""
        said = self.agent_item(response_id, item_id, now_ms, spoken=True)
        if said is not None:
            said.spoken = True
            if not self.playing.get(item_id):
                self.playing.pop(item_id, None)  # its words came first, which put it in another's place
                self.playing[item_id] = True
            self.fresh.add(item_id)
            self._answers.grow(self.places[item_id].turn, response_id)

    def agent_words(self, response_id: str, item_id: str, text: str, now_ms: int, *, spoken: bool) -> None:
        """A further piece of what the agent says or writes."""
        said = self.agent_item(response_id, item_id, now_ms, spoken=spoken)
        if said is None:
            return
        turn = self.places[item_id].turn
        said.text += self._room.fitted(turn, text)
        if spoken:
            said.spoken = True
            self.playing.setdefault(item_id, False)
            self.fresh.add(item_id)
        elif item_id not in self.playing:
            said.spoken = False
            said.heard_text = said.text
        self._worded.add(response_id)
        self._answers.grow(turn, response_id)

    def has_words(self, response_id: str) -> bool:
        """Whether this response said or wrote anything."""
        return response_id in self._worded

    def interrupt_item(self, item_id: str) -> None:
        """The caller cut this item of the agent short."""
        place = self.places.get(item_id)
        if place is not None and place.said.speaker is Speaker.AGENT:
            self._book.interrupt(place.turn)
