"""What the line of a telephone call brings beside sound; they belong to the events of the caller's leg."""

from __future__ import annotations

from dataclasses import dataclass, field

from audio.formats import AudioFrame
from audio.line_in import LineCounts
from audio.values import hot_value


@hot_value
class CallerSilence:
    """Silence in the place of sound that did not come, for the model only: its sense of time is the sound that it gets.

    The frame continues the positions of the caller's sound. It is neither recorded nor measured as the caller's.
    """

    frame: AudioFrame


@dataclass(frozen=True, slots=True)
class LineMeasured:
    """The sums of the caller's line so far. A leg delivers it when they have changed, at most once a second."""

    counts: LineCounts


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """The caller has pressed a key of the telephone: one of `0`-`9`, `*`, `#`, `A`-`D`; others are ignored.

    A leg does not note the message that brought it in the event log: the call does, unless keys are secret.
    """

    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """A far end has dropped speech at a clear, and has said how much, so it is known up to where it had played.

    `played_ms` has the items that it had last, each with the position up to which it was played.
    """

    played_ms: tuple[tuple[str, int], ...]
