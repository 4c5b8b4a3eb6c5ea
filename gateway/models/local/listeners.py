"""What makes a call's ears: by the dialogue's grammars here, by an endpoint in `remote_hearing.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.models.local.detector import SpeechModel
from gateway.models.local.hearing import Hearing
from gateway.models.local.recogniser import Recogniser
from gateway.models.local.rules import Dialogue
from gateway.models.local.transcripts import Transcript
from gateway.models.local.verdict import accepted


class Listener(Protocol):
    """Makes the ears of one call."""

    @property
    def free(self) -> bool:
        """Whether transcripts come from outside the grammar."""
        ...

    def hearing(self) -> Hearing:
        """Fresh ears for one stream."""
        ...

    def transcript(self, hearing: Hearing, state: str, speech_ms: int) -> Transcript:
        """Find out what was said in the speech that a stream's ears have just taken in."""
        ...


class GrammarListener:
    """Listens by the dialogue's grammars."""

    free = False

    def __init__(
        self, dialogue: Dialogue, model: Callable[[], SpeechModel], recogniser: Callable[[], Recogniser]
    ) -> None:
        self._dialogue = dialogue
        self._model = model
        self._recogniser = recogniser

    def hearing(self) -> Hearing:
        """With a recogniser of its own."""
        return Hearing(self._model(), self._recogniser())

    def transcript(self, hearing: Hearing, state: str, speech_ms: int) -> Transcript:
        """Ready at once, unless all decoders were in use."""
        assert hearing.recogniser is not None
        return GrammarTranscript(hearing.recogniser, self._dialogue, state, speech_ms)


class GrammarTranscript:
    """The decoder's sentence, if it stands the test."""

    by_work = True

    def __init__(self, recogniser: Recogniser, dialogue: Dialogue, state: str, speech_ms: int) -> None:
        self._recogniser = recogniser
        self._dialogue = dialogue
        self._state = state
        self._speech_ms = speech_ms
        self.done = False
        self.text: str | None = None
        self.work()

    def work(self) -> None:
        """Decode what waits."""
        if self._recogniser.busy:
            self._recogniser.work()
        if self.done or self._recogniser.busy:
            return
        heard = self._recogniser.finish()
        self.done = True
        self.text = accepted(heard, self._speech_ms, lambda text: self._dialogue.accepts(text, self._state))
