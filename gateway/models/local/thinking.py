"""Removes a model's thinking, which it writes between tags, from the text to be spoken.

Reasoning models write `<think>…</think>` into their answer unless their server removes it. DeepSeek, Qwen and gpt-oss
write such tags; Magistral writes `[THINK]`, Kimi `◁think▷`. Some servers put the opening tag into the prompt, so that
the answer has only the closing tag: the text before it is thinking as well.
"""

from __future__ import annotations

import re

_NAMES = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reason",
    "reflection",
    "analysis",
    "scratchpad",
    "inner_monologue",
    "seed:think",
)
_MARKS = ("[think]", "[/think]", "◁think▷", "◁/think▷")
LONGEST_TAG_CHARS = 100  # with its attributes

_ANY = "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True))
_TAG = re.compile(
    rf"<(?P<close>/?)(?:{_ANY})(?:\s[^<>]{{0,{LONGEST_TAG_CHARS - 20}}}?)?(?P<empty>/?)>"
    r"|\[(?P<close2>/?)think\]|◁(?P<close3>/?)think▷",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"</?(?:{_ANY})(?:\s[^<>]*)?/?", re.IGNORECASE)
_MARK = re.compile(r"[<\[◁]")
_BEGINNINGS = tuple([f"<{name}" for name in _NAMES] + [f"</{name}" for name in _NAMES] + list(_MARKS))


class ThinkingFilter:
    """Takes one answer's text as it arrives, and returns the part that may be spoken."""

    def __init__(self) -> None:
        self._text = ""  # held back, because it may be the beginning of a tag
        self._inside = False

    def feed(self, text: str) -> tuple[bool, str]:
        """Take a piece. Returns whether all text returned before was thinking, and the text to be spoken now."""
        self._text += text
        spoken: list[str] = []
        was_thinking = False
        at = 0
        for tag in _TAG.finditer(self._text):
            before = self._text[at : tag.start()]
            at = tag.end()
            closes = bool(tag["close"] or tag["close2"] or tag["close3"])
            if self._inside:
                self._inside = not closes
            elif closes:  # the opening tag was in the prompt
                spoken.clear()
                was_thinking = True
            else:
                spoken.append(before)
                self._inside = not tag["empty"]
        rest = self._text[at:]
        undecided = _undecided(rest)
        self._text = rest[len(rest) - undecided :]
        if not self._inside:
            spoken.append(rest[: len(rest) - undecided])
        return was_thinking, "".join(spoken)

    def end(self) -> str:
        """The rest of the text to be spoken, at the end of the answer; thinking that is never closed is not spoken."""
        rest, self._text = self._text, ""
        return "" if self._inside else rest


def _undecided(text: str) -> int:
    """How many characters at the end of the text may be the beginning of a tag."""
    for mark in _MARK.finditer(text, max(0, len(text) - LONGEST_TAG_CHARS)):
        tail = text[mark.start() :].lower()
        if any(name.startswith(tail) for name in _BEGINNINGS) or _NAMED.fullmatch(tail):
            return len(text) - mark.start()
    return 0
