"""What a model thinks aloud between tags, taken out of what it says.

Models that reason write `<think>…</think>` into their answer where the server in front of them does not take it out.
DeepSeek, Qwen and gpt-oss write such tags; Magistral writes `[THINK]`, Kimi `◁think▷`. Some servers put the opening tag
into the prompt, so that only the closing one is in the answer: what stands before it is thinking as well.
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
LONGEST_TAG_CHARS = 100  # with attributes

_ANY = "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True))
_TAG = re.compile(
    rf"<(?P<close>/?)(?:{_ANY})(?:\s[^<>]{{0,{LONGEST_TAG_CHARS - 20}}}?)?(?P<empty>/?)>"
    r"|\[(?P<close2>/?)think\]|◁(?P<close3>/?)think▷",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"</?(?:{_ANY})(?:\s[^<>]*)?/?", re.IGNORECASE)
_MARK = re.compile(r"[<\[◁]")
_BEGINNINGS = tuple([f"<{name}" for name in _NAMES] + [f"</{name}" for name in _NAMES] + list(_MARKS))


class WithoutThinking:
    """Takes the text of one answer as it grows, and gives what may be spoken of it."""

    def __init__(self) -> None:
        self._text = ""  # not decided yet: it may be the beginning of a tag
        self._inside = False

    def feed(self, text: str) -> tuple[bool, str]:
        """Whether all that was given before was thinking after all, and what may be spoken now."""
        self._text += text
        spoken: list[str] = []
        taken_back = False
        at = 0
        for tag in _TAG.finditer(self._text):
            before = self._text[at : tag.start()]
            at = tag.end()
            closes = bool(tag["close"] or tag["close2"] or tag["close3"])
            if self._inside:
                self._inside = not closes
            elif closes:  # its opening tag stood in the prompt
                spoken.clear()
                taken_back = True
            else:
                spoken.append(before)
                self._inside = not tag["empty"]
        rest = self._text[at:]
        undecided = _undecided(rest)
        self._text = rest[len(rest) - undecided :]
        if not self._inside:
            spoken.append(rest[: len(rest) - undecided])
        return taken_back, "".join(spoken)

    def end(self) -> str:
        """What may be spoken of the rest: a thought that does not end is none of it."""
        rest, self._text = self._text, ""
        return "" if self._inside else rest


def _undecided(text: str) -> int:
    """How many characters at the end may be the beginning of a tag."""
    for mark in _MARK.finditer(text, max(0, len(text) - LONGEST_TAG_CHARS)):
        tail = text[mark.start() :].lower()
        if any(name.startswith(tail) for name in _BEGINNINGS) or _NAMED.fullmatch(tail):
            return len(text) - mark.start()
    return 0
