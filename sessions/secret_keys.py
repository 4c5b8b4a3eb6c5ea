"""Keeps keys that are secret out of everything that is stored. The model is told them, and a new leg of it as well.

The turns of a running call hold the keys, because the model's next leg is told the conversation from them. What is
stored of a turn holds their number only: `[4 keys]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import orjson

from sessions.ports import Json
from sessions.record import ToolUse, Turn, Utterance

# Shorter sequences are not looked for in other texts: every "2" would be taken for one.
MIN_SEARCHED = 3
MAX_SEARCHED = 256  # different sequences in one call
_BETWEEN = r"[\s,.\-]{0,2}"  # a model may write 1 2 3 4, or 12-34


class SecretKeys:
    """Knows which entries of a record are secret keys, and finds the same keys in the other entries."""

    __slots__ = ("_pattern", "_searched", "_shown")

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}  # by item, or by tool call: what is stored in its place
        self._searched: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def keep(self, name: str, keys: str, stored: str) -> None:
        """These keys are the message of this item, or the result of this tool call; `stored` takes their place."""
        self._shown[name] = stored
        if len(keys) >= MIN_SEARCHED and keys not in self._searched and len(self._searched) < MAX_SEARCHED:
            self._searched[keys] = None
            longest_first = sorted(self._searched, key=len, reverse=True)
            any_keys = "|".join(_BETWEEN.join(map(re.escape, keys)) for keys in longest_first)
            self._pattern = re.compile(rf"(?<![0-9])(?:{any_keys})(?![0-9])")

    def stored(self, turn: Turn) -> Turn:
        """A turn as it may be stored; the turn itself where it has no secret."""
        if not self._shown:
            return turn
        return replace(turn, entries=[self._entry(entry) for entry in turn.entries])

    def hide(self, text: str) -> str:
        """A text without the keys that are secret; the text itself where it has none of them."""
        if self._pattern is None or self._pattern.search(text) is None:
            return text
        return self._pattern.sub(lambda found: shown("".join(re.findall(r"[0-9*#A-D]", found[0]))), text)

    def hide_in_json(self, text: str) -> str:
        """The same for the arguments and the result of a tool: what was JSON is JSON afterwards."""
        if self._pattern is None or self._pattern.search(text) is None:
            return text
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self.hide(text)
        return orjson.dumps(self._hidden(value)).decode()

    def output(self, call_id: str, output: str) -> str:
        """The result of a tool call as it may be stored."""
        return self._shown[call_id] if call_id in self._shown else self.hide_in_json(output)

    def _entry(self, entry: Utterance | ToolUse) -> Utterance | ToolUse:
        if isinstance(entry, ToolUse):
            output = None if entry.output is None else self.output(entry.call_id, entry.output)
            return replace(entry, arguments=self.hide_in_json(entry.arguments), output=output)
        if entry.item_id in self._shown:
            stored = self._shown[entry.item_id]
            return replace(entry, text=stored, heard_text=stored)
        return replace(entry, text=self.hide(entry.text), heard_text=self.hide(entry.heard_text))

    def _hidden(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self._hidden(below) for key, below in value.items()}
        if isinstance(value, list):
            return [self._hidden(below) for below in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            hidden = self.hide(text)
            return value if hidden == text else hidden
        return value


def shown(keys: str) -> str:
    """What is stored in the place of secret keys."""
    return "[1 key]" if len(keys) == 1 else f"[{len(keys)} keys]"
