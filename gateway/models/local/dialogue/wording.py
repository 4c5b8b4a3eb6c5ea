"""The wording of one conversation's replies, as far as it depends on the conversation so far."""

from __future__ import annotations

from gateway.models.local.dialogue.replies import Reply
from gateway.models.local.dialogue.rules import Rule, Texts

MANY_MISSES = 3  # after so many misunderstandings in a row, help is offered


class Wording:
    """Remembers the reply to repeat, each rule's next sentence, and how often the caller was not understood."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._times_used: dict[str, int] = {}  # how often each rule has spoken, which selects its next variant
        self._misses = 0
        self.last = ""  # the reply that is repeated on request

    def say(self, text: str) -> Reply:
        """Reply with this text."""
        self.last = text
        return Reply(text)

    def variant(self, rule: Rule) -> str:
        """The template of the rule's next sentence, in rotation; "" if the rule has none."""
        used = self._times_used.get(rule.name, 0)
        self._times_used[rule.name] = used + 1
        return rule.say[used % len(rule.say)] if rule.say else ""

    def understood(self) -> None:
        """Reset the count of misunderstandings."""
        self._misses = 0

    def missed(self, question: str) -> Reply:
        """Reply that the caller was not understood, and ask again. This reply is not repeated on request."""
        self._misses += 1
        if self._misses % MANY_MISSES == 0 and self._texts.help:
            return Reply(self._texts.help)
        text = self._texts.not_understood[(self._misses - 1) % len(self._texts.not_understood)]
        return Reply(f"{text} {question}".strip())
