"""An agent's compiled `offline:` rules: what callers may say, the replies, and the tools to be called.

`dialogue.py` compiles them. A dialogue is immutable and shared by an agent's calls; `rule_conversation.py` holds the
state of one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.models.local.dialogue.dfa import Dfa, minimal_dfa
from gateway.models.local.dialogue.patterns import NOTHING, Blank, Choice, Found, Node, Row, Slot, ends, fit
from gateway.models.local.dialogue.words import FILLERS, words_of
from sessions.ports import Json

LONGEST_TEXT_WORDS = 60  # how many words of typed text are examined
OPEN, CONFIRM = "open", "confirm"  # names of grammars; each slot that is asked for has one more, with its name


class Action(StrEnum):
    """What a rule can do besides speaking."""

    REPEAT = "repeat"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Need:
    """A slot that must be filled before the rule continues, and the question for it."""

    slot: str
    ask: str


@dataclass(frozen=True, slots=True)
class CallSpec:
    """A tool call, with its arguments as templates."""

    tool: str
    arguments: tuple[tuple[str, Json], ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """A question after a tool's result; "yes" starts another rule with the same slots.

    `when`: the result's field that must be true for the offer; None: it is always made.
    """

    ask: str
    rule: str
    when: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a caller may ask for."""

    name: str
    phrases: Node
    say: tuple[str, ...]
    before: str
    needs: tuple[Need, ...]
    confirm: str | None
    call: CallSpec | None
    on_error: str | None
    retry: str | None  # the slot to ask for again when the tool refused
    offer: Offer | None
    action: Action | None

    @property
    def is_form(self) -> bool:
        """Whether the rule opens a form, rather than only replying."""
        return bool(self.needs or self.confirm or self.call)


@dataclass(frozen=True, slots=True)
class SlotUse:
    """A slot's phrases: answers when it is asked for, changes at any time in a form, and its names."""

    slot: Slot
    answers: Node
    changes: Node
    called: Node
    typed: bool  # whether any typed words are accepted as the answer


@dataclass(frozen=True, slots=True)
class Texts:
    """The dialogue's sentences outside its rules."""

    not_understood: tuple[str, ...] = (
        "Sorry, I did not get that.",
        "I still did not understand. Could you say it another way?",
    )
    help: str = ""
    change: str = "All right. What shall I change?"
    forgotten: str = "All right, never mind."
    nothing_to_forget: str = "There is nothing to cancel."
    tool_failed: str = "I am sorry, that did not work."
    no_pictures: str = "I am sorry, I can't see pictures."
    more: str = "How can I help?"


@dataclass(frozen=True, slots=True)
class Speech:
    """The agent's voice: the name of an espeak-ng voice, its speed, and its pitch from 0 to 99."""

    voice: str = "en-us"
    words_per_minute: int = 170
    pitch: int = 50


@dataclass(frozen=True, slots=True)
class Understood:
    """What the caller meant: a rule, a slot named in order to change it, or (both None) only values of slots."""

    rule: Rule | None
    called: str | None
    found: Found


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A compiled dialogue. `yes_no` is the slot for answers to confirmations."""

    rules: tuple[Rule, ...]
    uses: Mapping[str, SlotUse]
    yes_no: Slot
    texts: Texts
    speech: Speech
    pronunciations: Mapping[str, str]
    before: Node
    after: Node

    @property
    def slots(self) -> dict[str, Slot]:
        """All slots by name."""
        return {name: use.slot for name, use in self.uses.items()} | {self.yes_no.name: self.yes_no}

    def states(self) -> tuple[str, ...]:
        """The names of all grammars."""
        asked = {need.slot for rule in self.rules for need in rule.needs}
        return (OPEN, CONFIRM, *sorted(asked))

    def rule(self, name: str) -> Rule:
        """The rule of this name."""
        return next(rule for rule in self.rules if rule.name == name)

    def grammar(self, state: str) -> Dfa:
        """The grammar of a state: everything that the caller may say in it."""
        options = [node for node, _ in self._context(state)]
        options += [rule.phrases for rule in self.rules if rule.phrases != NOTHING]
        sentence = Row((Choice((self.before, NOTHING)), Choice(tuple(options)), Choice((self.after, NOTHING))))
        return minimal_dfa(sentence, self.slots)

    def _context(self, state: str) -> list[tuple[Node, str | None]]:
        """The phrases that only this state allows, each with the slot that it names, if it names one."""
        if state == OPEN:
            return []
        options: list[tuple[Node, str | None]] = []
        if state == CONFIRM:
            options.append((Blank(self.yes_no.name), None))
            options += [(use.called, name) for name, use in self.uses.items() if use.called != NOTHING]
        else:
            options.append((self.uses[state].answers, None))
        options += [(use.changes, None) for use in self.uses.values() if use.changes != NOTHING]
        return options

    def _options(self, state: str) -> list[tuple[Node, Rule | None, str | None]]:
        options: list[tuple[Node, Rule | None, str | None]] = [(n, None, called) for n, called in self._context(state)]
        return options + [(rule.phrases, rule, None) for rule in self.rules if rule.phrases != NOTHING]

    def understand(self, words: tuple[str, ...], state: str) -> Understood | None:
        """The meaning of a whole sentence of the grammar, which may have filler words anywhere; None: it is not one."""
        slots = self.slots
        bare = tuple(word for word in words if word not in FILLERS)
        for attempt in (words, self._trimmed(words), bare):
            for node, rule, called in self._options(state) if attempt else []:
                found = fit(node, attempt, slots)
                if found is not None:
                    return Understood(rule, called, found)
        return None

    def _trimmed(self, words: tuple[str, ...]) -> tuple[str, ...]:
        start = max(end for end, _ in ends(Choice((self.before, NOTHING)), words, 0, {}))
        for stop in range(start + 1, len(words)):
            if fit(self.after, words[stop:], {}) is not None:
                return words[start:stop]
        return words[start:]

    def accepts(self, text: str, state: str) -> bool:
        """Whether a text is a whole sentence of the state's grammar."""
        return self.understand(words_of(text), state) is not None

    def find(self, words: tuple[str, ...], state: str) -> Understood | None:
        """The meaning of the longest part of free text that has one, if it is at least half of the meaningful words.

        A single word counts only where it is the only meaningful word.
        """
        words = words[:LONGEST_TEXT_WORDS]
        slots = self.slots
        best: Understood | None = None
        longest = 0
        for start in range(len(words)):
            for node, rule, called in self._options(state):
                for end, found in ends(node, words, start, slots):
                    if end - start > longest:
                        longest, best = end - start, Understood(rule, called, found)
        meaningful = sum(word not in FILLERS for word in words)
        return best if longest * 2 >= meaningful and longest >= min(2, meaningful) else None
