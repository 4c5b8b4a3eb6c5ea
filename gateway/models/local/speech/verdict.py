"""Decides whether the caller really said the sentence that the recogniser found.

A recogniser with a closed grammar finds one of its sentences in any sound. A sentence that was really said is shown by
how well the sound fits its words (`mean`, `worst`: log likelihoods per frame of 10 ms, relative to the best that any
sound could have), by words that are neither stretched nor squeezed (`stretch`), and by words that cover the speech
(`gap`). The weights are a logistic regression over the calibration lists of `bench/offline_phrases.py`; `python -m
bench.offline_grammar --calibrate` computes new ones. The threshold gives about 6 % false accepts on those lists;
`docs/local-model.md` has the figures on the other lists, and says how the threshold was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from gateway.models.local.speech.recogniser import Part, Recognised

WEIGHTS = (1.528, 0.339, -2.258, -5.05)  # of the fields of Evidence
OFFSET = 9.456
ACCEPTED = 0.0  # a higher threshold gives fewer false accepts and more false rejects
LETTER_FRAMES = 7.5  # frames for each letter at an ordinary pace
SHORTEST_FRAMES = 5  # the likelihood of a shorter word means nothing by itself
MOST_EXTRA_WORDS = 2  # a breath at the end is often recognised as the first words of a further phrase
SHORTEST_SPEECH_MS = 50


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for a sentence, as the module's docstring explains; the best `stretch` and `gap` are 0."""

    mean: float
    worst: float
    stretch: float
    gap: float

    @property
    def score(self) -> float:
        """The log odds that the sentence was said: above 0 it is more likely right than wrong."""
        fields = (self.mean, self.worst, self.stretch, self.gap)
        return OFFSET + sum(weight * field for weight, field in zip(WEIGHTS, fields, strict=True))


def weigh(parts: tuple[Part, ...], speech_ms: int) -> Evidence:
    """Compute the evidence for these words, at least one, in speech of this length."""
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
    """The sentence that was said, or None. `is_whole` tells whether a text is a whole sentence of the grammar."""
    if heard is None:
        return None
    words = heard.text.split()
    for extra in range(min(MOST_EXTRA_WORDS + 1, len(words))):
        text = " ".join(words[: len(words) - extra])
        if is_whole(text):
            parts = heard.parts[: len(heard.parts) - extra]
            return text if parts and weigh(parts, speech_ms).score >= ACCEPTED else None
    return None
