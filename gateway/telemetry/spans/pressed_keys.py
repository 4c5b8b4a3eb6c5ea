"""Keeps the keys that callers press on a telephone out of what is sent: only their number is left."""

from __future__ import annotations

import re

import orjson

from sessions.keys import COLLECT_KEYS, KEYS
from sessions.record import ToolUse, Turn, Utterance
from sessions.secret_keys import SecretKeys, shown

_KEYS_HIDDEN = "[keys]"
_SHOWN = re.compile(r"\[\d+ keys?\]")  # keys of which the record holds the number only


class PressedKeys:
    """Knows the keys that were pressed in a call, and hides them in everything that was said or passed to tools."""

    def __init__(self) -> None:
        self._secrets = SecretKeys()

    def take(self, turn: Turn) -> None:
        """Learn the keys of a turn; harmless if they are known."""
        for entry in turn.entries:
            if isinstance(entry, Utterance):
                if entry.keys and _are_keys(entry.text):
                    self._secrets.keep(entry.item_id, entry.text, shown(entry.text))
            elif entry.name == COLLECT_KEYS and entry.output is not None:
                keys = _collected(entry.output)
                if keys is not None and _are_keys(keys):
                    self._secrets.keep(entry.call_id, keys, _collected_shown(entry.output, keys))

    def text(self, said: Utterance, text: str) -> str:
        """A text of an utterance; of pressed keys only their number is left."""
        if said.keys:
            return shown(text) if _are_keys(text) else text if _SHOWN.fullmatch(text) else _KEYS_HIDDEN
        return self._secrets.hide(text)

    def arguments(self, use: ToolUse) -> str:
        """The arguments of a tool."""
        return self._secrets.hide_in_json(use.arguments)

    def output(self, use: ToolUse) -> str:
        """The result of a tool, which must have one."""
        output = use.output or ""
        if use.name == COLLECT_KEYS and _collected(output) is None:
            return _KEYS_HIDDEN
        return self._secrets.output(use.call_id, output)


def _are_keys(text: str) -> bool:
    return bool(text) and all(key in KEYS for key in text)


def _collected(output: str) -> str | None:
    """The keys in the result of the tool that waits for keys; None where it is another text."""
    try:
        parsed = orjson.loads(output)
    except orjson.JSONDecodeError:
        return None
    keys = parsed.get("digits") if isinstance(parsed, dict) else None
    return keys if isinstance(keys, str) else None


def _collected_shown(output: str, keys: str) -> str:
    return orjson.dumps({**orjson.loads(output), "digits": shown(keys)}).decode()
