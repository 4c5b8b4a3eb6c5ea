"""What was said, item by item, in the order in which the items began.

The transcript of a caller's speech often comes after the answer to it. So the item's place is taken when the speech
begins, and filled when the text comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.record import Speaker, Turn, Utterance
from sessions.transcript_budget import TranscriptBudget
from sessions.turns import AnswerBook, TurnBook

MAX_EARLY = 16  # transcripts that have come before their items


@dataclass(frozen=True, slots=True)
class Place:
    """Where an utterance is in the record."""

    turn: Turn
    said: Utterance


class Transcript:
    """Writes the utterances of one call into its turns, as far as the record has room for their words."""

    def __init__(self, book: TurnBook, answers: AnswerBook, budget: TranscriptBudget) -> None:
        self._book = book
        self._answers = answers
        self._budget = budget
        self.places: dict[str, Place] = {}  # by item, in the order of first mention
        # Spoken items of the agent of which more may be heard or written, in the order of their first sound. The value
        # is True once an item has had sound.
        self.playing: dict[str, bool] = {}
        self.fresh: set[str] = set()  # those of them of which more may have been sent than the record has
        self._early: dict[str, str] = {}  # transcripts of items that are not known yet

    # ---- the caller

    def caller_spoken(self, item_id: str, now_ms: int) -> None:
        """Take the place of something that the caller says, unless it has one."""
        if item_id not in self.places:
            turn, said = self._caller(item_id, now_ms, spoken=True)
            if item_id in self._early:
                said.text = said.heard_text = self._budget.fitted(turn, self._early.pop(item_id))
                said.final = True

    def caller_typed(self, item_id: str, text: str, images: int, now_ms: int, *, spoken: bool) -> None:
        """Note something that the caller types, or says in one piece, unless it is known."""
        if item_id not in self.places:
            turn, said = self._caller(item_id, now_ms, spoken=spoken)
            said.text = said.heard_text = self._budget.fitted(turn, text)
            said.images = images

    def _caller(self, item_id: str, now_ms: int, *, spoken: bool) -> tuple[Turn, Utterance]:
        turn = self._book.for_caller(now_ms)
        begin_ms = self._book.since_start_ms(now_ms)
        said = Utterance(item_id, Speaker.CALLER, "", "", spoken, begin_ms=begin_ms, final=not spoken)
        turn.entries.append(said)
        self.places[item_id] = Place(turn, said)
        return turn, said

    def withdraw(self, item_id: str) -> None:
        """Take an item out again: the model has refused it."""
        place = self.places.pop(item_id, None)
        if place is None:
            return
        turn, said = place.turn, place.said
        turn.entries = [entry for entry in turn.entries if entry is not said]
        self._budget.give_back(turn, said.text)
        self._book.touch(turn)

    def caller_text(self, item_id: str, text: str, *, final: bool) -> None:
        """Take the words of a caller's item, or a further part of them."""
        place = self.places.get(item_id)
        if place is None:
            if final and len(self._early) < MAX_EARLY:
                self._early[item_id] = text
            return
        turn, said = place.turn, place.said
        if said.speaker is not Speaker.CALLER or not said.spoken or (said.final and not final):
            return
        if final:
            self._budget.give_back(turn, said.text)
        said.text = self._budget.fitted(turn, text) if final else said.text + self._budget.fitted(turn, text)
        said.heard_text = said.text
        said.final = final
        self._book.touch(turn)

    # ---- the agent

    def agent_item(self, response_id: str, item_id: str, now_ms: int, *, spoken: bool) -> Utterance | None:
        """Take the place of something that the agent says, unless it has one; None if its response has no turn."""
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
                self.playing.pop(item_id, None)  # its words came before its sound, which put it in the wrong place
                self.playing[item_id] = True
            self.fresh.add(item_id)
            self._answers.grow(self.places[item_id].turn, response_id)

    def agent_words(self, response_id: str, item_id: str, text: str, now_ms: int, *, spoken: bool) -> bool:
        """Take a further piece of what the agent says or writes. False if it has no place in the record."""
        said = self.agent_item(response_id, item_id, now_ms, spoken=spoken)
        if said is None:
            return False
        turn = self.places[item_id].turn
        said.text += self._budget.fitted(turn, text)
        if spoken:
            said.spoken = True
            self.playing.setdefault(item_id, False)
            self.fresh.add(item_id)
        elif item_id not in self.playing:
            said.spoken = False
            said.heard_text = said.text
        self._answers.grow(turn, response_id)
        return True

    def interrupt_item(self, item_id: str) -> None:
        """The caller has interrupted this item of the agent."""
        place = self.places.get(item_id)
        if place is not None and place.said.speaker is Speaker.AGENT:
            self._book.interrupt(place.turn)
