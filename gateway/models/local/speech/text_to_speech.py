"""Speaks answers sentence by sentence; each is synthesised only when the speech before it has nearly been played."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from audio.formats import AudioFormat
from gateway.models.local.dialogue.answerer import Answer, RequestedCall
from gateway.models.local.dialogue.rules import Speech
from gateway.models.local.speech.sentences import sentences_of
from gateway.models.local.speech.voice import Voice
from gateway.realtime.server.brain import OpenResponse

AHEAD_MS = 1_000  # of unplayed speech; past this nothing is synthesised, so that little is wasted by a barge-in
POLL_MS = 20  # the interval at which results of endpoints are polled


class Sound(Protocol):
    """A sentence's sound while it is being synthesised."""

    @property
    def done(self) -> bool:
        """Whether no more sound follows."""
        ...

    def take(self) -> bytes:
        """The sound since the last call."""
        ...

    def drop(self) -> None:
        """Cancel: the sound is no longer needed."""
        ...


class TextToSpeech(Protocol):
    """Synthesises sentences."""

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """Start to synthesise a sentence in this format."""
        ...


class ReadySound:
    """Sound that is complete from the start."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.done = True

    def take(self) -> bytes:
        """All of the sound, at the first call."""
        payload, self._payload = self._payload, b""
        return payload

    def drop(self) -> None:
        """Nothing to cancel."""


class LazySound:
    """Sound in a known number of pieces, each of which is converted when it is taken."""

    def __init__(self, pieces: Iterator[bytes], count: int) -> None:
        self._pieces = pieces
        self._left = count

    @property
    def done(self) -> bool:
        """Whether all pieces have been taken."""
        return self._left <= 0

    def take(self) -> bytes:
        """The next piece; the last call returns all that is left."""
        self._left -= 1
        return next(self._pieces, b"") if self._left > 0 else b"".join(self._pieces)

    def drop(self) -> None:
        """Cancel: no further piece is converted."""
        self._left = 0


class EspeakSpeech:
    """Speaks with espeak-ng."""

    def __init__(self, voice: Voice, speech: Speech) -> None:
        self._voice = voice
        self._speech = speech

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """Synthesise a sentence. Takes a few ms, and taking all its pieces takes about as long again."""
        runs = self._voice.raw(sentence, self._speech)
        return LazySound(self._voice.pieces(runs, format), len(runs))


class SpokenAnswer:
    """A response in progress: takes an answer's sentences, synthesises them and emits them."""

    def __init__(self, response: OpenResponse, answer: Answer, text_to_speech: TextToSpeech, now_ms: int) -> None:
        self.response = response
        self._answer = answer
        self._text_to_speech = text_to_speech
        self._left: deque[str] = deque()
        self._sound: Sound | None = None
        self._unspoken = ""  # the text of a sentence that has no sound yet
        self._spoke = False  # whether a sentence has begun
        self._played_ms = now_ms  # when all sound sent so far will have been played

    def advance(self, now_ms: int) -> list[RequestedCall] | None:
        """Emit what is ready. Returns None while more follows; at the end, the tool calls that the answer requests."""
        for text in self._answer.take():
            self._left.extend(sentences_of(text))
        if self.response.text_only:
            while self._left:
                self.response.say(self._spaced(self._left.popleft()), b"")
        else:
            self._emit_sound(now_ms)
        if self._left or self._sound is not None or not self._answer.done:
            return None
        return self._answer.calls()

    def due_ms(self, now_ms: int) -> int:
        """When `advance` is to be called next."""
        if self._sound is not None or not self._left:
            return now_ms + POLL_MS
        return max(now_ms + 1, self._played_ms - AHEAD_MS)

    def drop(self) -> None:
        """The response was cancelled or interrupted: synthesise no more."""
        self._left.clear()
        self._answer.drop()
        if self._sound is not None:
            self._sound.drop()
            self._sound = None

    def _emit_sound(self, now_ms: int) -> None:
        while True:
            if self._sound is None:
                if not self._left or self._played_ms - now_ms > AHEAD_MS:
                    return
                sentence = self._left.popleft()
                self._unspoken = self._spaced(sentence)
                self._sound = self._text_to_speech.begin(sentence, self.response.output_format)
            payload, done = self._sound.take(), self._sound.done
            if payload or done:
                format = self.response.output_format
                self.response.say(self._unspoken, payload)
                self._unspoken = ""
                played_ms = format.ms_of(format.samples_in(len(payload)))
                self._played_ms = max(self._played_ms, now_ms) + played_ms
            if not done:
                return
            self._sound = None

    def _spaced(self, sentence: str) -> str:
        spaced = f" {sentence}" if self._spoke else sentence
        self._spoke = True
        return spaced
