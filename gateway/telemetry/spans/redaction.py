"""Masks what must not leave in texts: what `finders.py` finds, and what own patterns find.

Each is replaced by its kind in brackets. The time is proportional to a text's length, whatever the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from gateway.telemetry.spans.finders import without_emails, without_ibans, without_numbers
from gateway.telemetry.spans.patterns import OwnPatterns
from sessions.ports import Json


class Redaction:
    """Masks the kinds that are always masked, and what own patterns find."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """`patterns`: regular expressions that `check_pattern` has nothing against."""
        self._own = OwnPatterns(patterns)

    def text(self, text: str) -> str:
        """The text with everything masked."""
        if not text:
            return text
        return without_numbers(without_emails(without_ibans(self._own.masked(text))))

    def json(self, text: str) -> str:
        """The same for JSON text, which is JSON afterwards; any other text is masked as it is."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self.text(text)
        return orjson.dumps(self._value(value)).decode()

    def _value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self._value(below) for name, below in value.items()}
        if isinstance(value, list):
            return [self._value(below) for below in value]
        if isinstance(value, int) and not isinstance(value, bool):
            written = str(value)
            masked = self.text(written)
            return value if masked == written else masked
        return value
