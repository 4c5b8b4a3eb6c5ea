"""Finds the caller's turns in their sound, by voice detection or by the client's commits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pybase64

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.models.local.dialogue.answerer import Input, Spoken
from gateway.models.local.speech.caller_speech import CallerSpeech, SpeechEnded, SpeechStarted
from gateway.models.local.speech.pending_audio import BulkAudio, Recording
from gateway.models.local.speech.speech_to_text import SpeechToText
from gateway.models.local.speech.transcripts import Transcript, Transcripts
from gateway.realtime.server.brain import TurnEvents
from sessions.ports import JsonObject


class TurnFinder:
    """Reports one call's turns to the server, and starts their transcripts."""

    def __init__(
        self,
        turn_events: TurnEvents,
        speech_to_text: SpeechToText,
        transcripts: Transcripts,
        on_turn: Callable[[Input], None],
        dialogue_state: Callable[[], str],
    ) -> None:
        """`on_turn` gets each turn before its transcript is known; `dialogue_state` names the next grammar."""
        self._turn_events = turn_events
        self._speech_to_text = speech_to_text
        self._transcripts = transcripts
        self._on_turn = on_turn
        self._dialogue_state = dialogue_state
        self._caller_speech = speech_to_text.open_stream()
        self._format = PCM16_24K
        self._manual_turns = False
        self._speech_state = ""  # the dialogue's state when the present speech began
        self._ended_speech: SpeechEnded | None = None  # ended speech that waits for the client's commit
        self.announcing = False  # a turn is being reported, and its transcript is not reported yet

    def configure(self, format: AudioFormat, turn_detection: JsonObject | None) -> None:
        """Take over the session's input format and turn detection; None: the client commits the turns."""
        self._format = format
        self._manual_turns = turn_detection is None
        self._caller_speech.configure(format, turn_detection)

    # ---- the caller's stream

    def feed(self, frame: AudioFrame) -> None:
        """Process a frame."""
        for event in self._caller_speech.feed(frame, self._dialogue_state()):
            match event:
                case SpeechStarted(at_ms):
                    self._speech_state = self._dialogue_state()
                    if not self._manual_turns:
                        self._turn_events.speech_started(at_ms)
                case SpeechEnded(at_ms):
                    if self._manual_turns:
                        self._ended_speech = event
                        continue
                    transcript = self._transcript(self._caller_speech, self._speech_state, event)
                    self._report_turn(partial(self._turn_events.speech_stopped, at_ms), transcript)

    def bulk_audio(self, frame: AudioFrame) -> BulkAudio:
        """Wrap a frame that is too long to be processed at once."""
        return BulkAudio(frame, self._caller_speech, self.feed)

    def skip(self, samples: int, format: AudioFormat) -> None:
        """Advance the time by sound that was cleared before it was processed; `cleared` must be called afterwards."""
        self._caller_speech.skip(samples, format)

    def committed(self, item_id: str) -> None:
        """The client made an item of the sound so far."""
        over, self._ended_speech = self._ended_speech, None
        if over is None:
            over = self._caller_speech.end_speech()
        self._report_turn(lambda: item_id, self._transcript(self._caller_speech, self._speech_state, over))

    def cleared(self) -> None:
        """The client cleared the sound so far."""
        self._ended_speech = None
        self._caller_speech.forget()

    def close(self) -> None:
        """The call has ended: discard the present speech."""
        self._caller_speech.forget()

    # ---- recordings

    def recording(self, item_id: str, sound: str) -> Recording:
        """Start a recording (base64) that arrived as an item; call `recording_finished` once it is processed."""
        spoken = Spoken(item_id, free_text=self._speech_to_text.free_text)
        self._on_turn(spoken)
        return Recording(
            spoken, self._speech_to_text.open_stream(), self._dialogue_state(), pybase64.b64decode(sound), self._format
        )

    def recording_finished(self, recording: Recording) -> None:
        """A recording is processed: start its transcript."""
        transcript = self._transcript(recording.caller_speech, recording.state, recording.over)
        self._transcripts.track(recording.spoken, transcript)

    # ---- turns

    def _transcript(self, caller_speech: CallerSpeech, state: str, over: SpeechEnded | None) -> Transcript | None:
        return None if over is None else self._speech_to_text.transcript(caller_speech, state, over.speech_ms)

    def _report_turn(self, item: Callable[[], str], transcript: Transcript | None) -> None:
        """Report a turn. Its item exists before its transcript, and the answer waits for both."""
        spoken = Spoken("", free_text=self._speech_to_text.free_text)
        self._on_turn(spoken)
        self.announcing = True
        try:
            spoken.item_id = item()
        finally:
            self.announcing = False
        self._transcripts.track(spoken, transcript)
