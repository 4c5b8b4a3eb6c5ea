"""Whether what the recogniser made of some sound was really said.

A closed grammar hears one of its sentences in anything. What was really said shows in how well the words' sound fits
(`mean`, `worst`: log likelihoods a frame of 10 ms, against the best that any sound could have had), in words neither
stretched nor squeezed, and in words that cover the speech. The weights are a logistic regression over
`bench/offline_phrases.py`'s calibration lists (`python -m bench.offline_grammar --calibrate` makes a fresh one), the
threshold gives some 6 % false accepts there; `docs/local-model.md` has the figures on the other lists, and says how it
was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from gateway.models.local.recogniser import Part, Recognised

WEIGHTS = (1.528, 0.339, -2.258, -5.05)  # of Evidence's fields
OFFSET = 9.456
ACCEPTED = 0.0  # the higher, the fewer false accepts and the more rejects
LETTER_FRAMES = 7.5  # an ordinary pace
SHORTEST_FRAMES = 5  # of a word whose own likelihood means something
MOST_EXTRA_WORDS = 2  # a breath at the end is often heard as the beginning of something more
SHORTEST_SPEECH_MS = 50


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a sentence: see above; `stretch` and `gap` are 0 at best."""

    mean: float
    worst: float
    stretch: float
    gap: float

    @property
    def score(self) -> float:
        """Above 0 it is more likely right than wrong."""
        fields = (self.mean, self.worst, self.stretch, self.gap)
        return OFFSET + sum(weight * field for weight, field in zip(WEIGHTS, fields, strict=True))


def weigh(parts: tuple[Part, ...], speech_ms: int) -> Evidence:
    """The evidence for these words, at least one, in speech of this length."""
    frames = sum(part.frames for part in parts)
    letters = sum(sum(map(str.isalpha, part.word)) for part in parts)
    mean = sum(part.log_score for part in parts) / frames
    return Evidence(
        mean=mean,
        worst=min((part.log_score / part.frames for part in parts if part.frames >= SHORTEST_FRAMES), default=mean),
        stretch=abs(log(frames / max(letters, 1) / LETTER_FRAMES)),
        gap=abs(frames * 10 / max(speech_ms, SHORTEST_SPEECH_MS) - 1),
    )


def accepted(heard: Recognised | None, speech_ms: int, is_whole: Callable[[str], bool]) -> str | None:
    """The sentence that was said, or None. `is_whole` tells whether words are a whole sentence of the grammar."""
    if heard is None:
        return None
    words = heard.text.split()
    for extra in range(min(MOST_EXTRA_WORDS + 1, len(words))):
        text = " ".join(words[: len(words) - extra])
        if is_whole(text):
            parts = heard.parts[: len(heard.parts) - extra]
            return text if parts and weigh(parts, speech_ms).score >= ACCEPTED else None
    return None
