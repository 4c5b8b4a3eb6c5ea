"""How one conversation's answers are worded, as far as that depends on what was said before."""

from __future__ import annotations

from gateway.models.local.moves import Move
from gateway.models.local.rules import Rule, Texts

MANY_MISSES = 3  # in a row, after which help is offered


class Wording:
    """Remembers the answer to repeat, which of its sentences a rule says next, and how often nothing was understood."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._told: dict[str, int] = {}  # how often each rule has spoken, for its variants
        self._misses = 0
        self.last = ""  # what is said again on request

    def say(self, text: str) -> Move:
        """Answer this."""
        self.last = text
        return Move(text)

    def variant(self, rule: Rule) -> str:
        """The template of the rule's next sentence; they take turns. "" if it has none."""
        told = self._told.get(rule.name, 0)
        self._told[rule.name] = told + 1
        return rule.say[told % len(rule.say)] if rule.say else ""

    def understood(self) -> None:
        """No more misses in a row."""
        self._misses = 0

    def missed(self, question: str) -> Move:
        """Answer what was not understood, and ask again what was asked; none of it is worth repeating on request."""
        self._misses += 1
        if self._misses % MANY_MISSES == 0 and self._texts.help:
            return Move(self._texts.help)
        text = self._texts.not_understood[(self._misses - 1) % len(self._texts.not_understood)]
        return Move(f"{text} {question}".strip())
