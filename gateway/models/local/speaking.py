"""One answer on its way out: sentence by sentence, each made only when what was made before is nearly played."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from audio.formats import AudioFormat
from gateway.models.local.mind import Thought, WantedCall
from gateway.models.local.rules import Speech
from gateway.models.local.sentences import sentences_of
from gateway.models.local.voice import Voice
from gateway.realtime.brain import OpenResponse

AHEAD_MS = 1_000  # of speech not yet played, past which nothing is made: so little is in vain when interrupted
POLL_MS = 20  # how often something that comes from elsewhere is looked for


class Sound(Protocol):
    """A sentence's sound that is being made."""

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        ...

    def take(self) -> bytes:
        """What has come since the last time."""
        ...

    def drop(self) -> None:
        """Nobody wants it any more."""
        ...


class Mouth(Protocol):
    """Makes sound of sentences."""

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """Start making a sentence's sound in this format."""
        ...


class Made:
    """Sound that was made at once."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.done = True

    def take(self) -> bytes:
        """All of it, once."""
        payload, self._payload = self._payload, b""
        return payload

    def drop(self) -> None:
        """Nothing to be stopped."""


class Making:
    """Sound that comes in so many pieces, each made when it is taken."""

    def __init__(self, pieces: Iterator[bytes], count: int) -> None:
        self._pieces = pieces
        self._left = count

    @property
    def done(self) -> bool:
        """Whether all has been taken."""
        return self._left <= 0

    def take(self) -> bytes:
        """The next piece; the last holds whatever is left."""
        self._left -= 1
        return next(self._pieces, b"") if self._left > 0 else b"".join(self._pieces)

    def drop(self) -> None:
        """Nothing more is made."""
        self._left = 0


class OwnMouth:
    """Speaks by espeak-ng."""

    def __init__(self, voice: Voice, speech: Speech) -> None:
        self._voice = voice
        self._speech = speech

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """A few milliseconds of work, and about as much for the pieces together."""
        runs = self._voice.raw(sentence, self._speech)
        return Making(self._voice.pieces(runs, format), len(runs))


class Answer:
    """A response, the thought that it follows, and the sentences and sound of it that are still to come."""

    def __init__(self, response: OpenResponse, thought: Thought, mouth: Mouth, now_ms: int) -> None:
        self.response = response
        self._thought = thought
        self._mouth = mouth
        self._left: deque[str] = deque()
        self._sound: Sound | None = None
        self._unsaid = ""  # the text of the sentence whose first sound has not come yet
        self._spoke = False
        self._played_ms = now_ms  # when all that was sent will have been played

    def go_on(self, now_ms: int) -> list[WantedCall] | None:
        """Say what can be said now. When all is said: the tools to be called."""
        for text in self._thought.take():
            self._left.extend(sentences_of(text))
        if self.response.text_only:
            while self._left:
                self.response.say(self._spaced(self._left.popleft()), b"")
        else:
            self._sound_out(now_ms)
        if self._left or self._sound is not None or not self._thought.done:
            return None
        return self._thought.calls()

    def due_ms(self, now_ms: int) -> int:
        """When to go on."""
        if self._sound is not None or not self._left:
            return now_ms + POLL_MS
        return max(now_ms + 1, self._played_ms - AHEAD_MS)

    def drop(self) -> None:
        """It was cut: nothing more is made."""
        self._left.clear()
        self._thought.drop()
        if self._sound is not None:
            self._sound.drop()
            self._sound = None

    def _sound_out(self, now_ms: int) -> None:
        while True:
            if self._sound is None:
                if not self._left or self._played_ms - now_ms > AHEAD_MS:
                    return
                sentence = self._left.popleft()
                self._unsaid = self._spaced(sentence)
                self._sound = self._mouth.begin(sentence, self.response.output_format)
            payload, done = self._sound.take(), self._sound.done
            if payload or done:
                format = self.response.output_format
                self.response.say(self._unsaid, payload)
                self._unsaid = ""
                played_ms = format.ms_of(format.samples_in(len(payload)))
                self._played_ms = max(self._played_ms, now_ms) + played_ms
            if not done:
                return
            self._sound = None

    def _spaced(self, sentence: str) -> str:
        spaced = f" {sentence}" if self._spoke else sentence
        self._spoke = True
        return spaced
