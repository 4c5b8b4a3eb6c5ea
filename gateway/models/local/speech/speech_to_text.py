"""Speech to text with the dialogue's grammars; `endpoint_transcription.py` has the variant with an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.models.local.dialogue.rules import Dialogue
from gateway.models.local.speech.caller_speech import CallerSpeech
from gateway.models.local.speech.detector import SpeechModel
from gateway.models.local.speech.recogniser import Recogniser
from gateway.models.local.speech.transcripts import Transcript
from gateway.models.local.speech.verdict import accepted


class SpeechToText(Protocol):
    """Finds and transcribes the speech of calls."""

    @property
    def free_text(self) -> bool:
        """Whether transcripts are free text, rather than sentences of the dialogue's grammar."""
        ...

    def open_stream(self) -> CallerSpeech:
        """Make the speech finder for one stream."""
        ...

    def transcript(self, caller_speech: CallerSpeech, state: str, speech_ms: int) -> Transcript:
        """Start to transcribe the speech that has just ended in a stream. `state` names the grammar."""
        ...


class GrammarSpeechToText:
    """Recognises speech with the dialogue's grammars."""

    free_text = False

    def __init__(
        self, dialogue: Dialogue, model: Callable[[], SpeechModel], recogniser: Callable[[], Recogniser]
    ) -> None:
        self._dialogue = dialogue
        self._model = model
        self._recogniser = recogniser

    def open_stream(self) -> CallerSpeech:
        """Make the speech finder for one stream, with a recogniser."""
        return CallerSpeech(self._model(), self._recogniser())

    def transcript(self, caller_speech: CallerSpeech, state: str, speech_ms: int) -> Transcript:
        """The recogniser's result, which is ready at once unless all decoders were in use."""
        assert caller_speech.recogniser is not None
        return GrammarTranscript(caller_speech.recogniser, self._dialogue, state, speech_ms)


class GrammarTranscript:
    """The decoder's sentence, or None where the evidence for it is too weak."""

    decoded_here = True

    def __init__(self, recogniser: Recogniser, dialogue: Dialogue, state: str, speech_ms: int) -> None:
        self._recogniser = recogniser
        self._dialogue = dialogue
        self._state = state
        self._speech_ms = speech_ms
        self.done = False
        self.text: str | None = None
        self.work()

    def work(self) -> None:
        """Decode sound that waits; takes a few ms at most."""
        if self._recogniser.busy:
            self._recogniser.work()
        if self.done or self._recogniser.busy:
            return
        heard = self._recogniser.finish()
        self.done = True
        self.text = accepted(heard, self._speech_ms, lambda text: self._dialogue.accepts(text, self._state))
