"""The embedded model behind a `RealtimeServer`: it finds turns, recognises speech, and speaks an answerer's answers.

The embedded parts run synchronously and inline, so that a call can be replayed in virtual time. Results of an endpoint
are polled every 20 ms while they are awaited. While `pending_audio` holds sound, only the time and the cancellation of
an answer may reach the brain; `server.py` makes sure of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.models.local.answering import Answers, UnansweredInputs
from gateway.models.local.dialogue.answerer import Answerer, Picture, ReadyAnswer, ToolOutput, Typed
from gateway.models.local.items import PastAnswer, PastCall, Sound, contents_of, inputs_of
from gateway.models.local.speech.bulk_audio import Pace, SliceSchedule
from gateway.models.local.speech.pending_audio import PendingAudio
from gateway.models.local.speech.speech_to_text import SpeechToText
from gateway.models.local.speech.text_to_speech import TextToSpeech
from gateway.models.local.speech.transcripts import Transcripts
from gateway.models.local.speech.turn_finder import TurnFinder
from gateway.realtime.owners import spoken_text
from gateway.realtime.server.brain import OpenResponse, TurnEvents
from gateway.realtime.wire_formats import FORMATS
from sessions.ports import JsonObject


class LocalBrain:
    """The model of one call."""

    def __init__(
        self,
        turn_events: TurnEvents,
        speech_to_text: SpeechToText,
        answerer: Answerer,
        text_to_speech: TextToSpeech,
        schedule: SliceSchedule,
    ) -> None:
        """`schedule` is shared by all calls of the process."""
        self._answerer = answerer
        self._unanswered = UnansweredInputs()
        self._transcripts = Transcripts(turn_events)
        self._turn_finder = TurnFinder(
            turn_events, speech_to_text, self._transcripts, self._unanswered.add, lambda: answerer.state
        )
        self._pace = Pace(PCM16_24K)
        self.pending_audio = PendingAudio(schedule, self._turn_finder.recording_finished)
        self._answers = Answers(answerer, text_to_speech, self._unanswered)
        self._now_ms = 0

    def configured(self, session: JsonObject) -> None:
        """Take over the session's formats, turn detection, instructions and tools."""
        self.pending_audio.process_all()
        sound = _format_of(session)
        self._pace = Pace(sound)
        self._turn_finder.configure(sound, _detection_of(session))
        self._answerer.configured(session)

    # ---- the caller's sound

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Take a frame of the caller's sound. Sound that arrives faster than real time is processed in `on_time`."""
        self._now_ms = now_ms
        if self._pace.allows(len(frame.payload), now_ms) and not self.pending_audio:
            self._turn_finder.feed(frame)
        else:
            self.pending_audio.put(self._turn_finder.bulk_audio(frame), now_ms)
        self._continue()

    def skip(self, frame: AudioFrame) -> None:
        """Advance the time by a frame that the client cleared before it was processed."""
        self._turn_finder.skip(frame.samples, frame.format)

    def committed(self, item_id: str, now_ms: int) -> None:
        """The client committed the caller's turn."""
        self._now_ms = now_ms
        self.pending_audio.process_all()
        self._turn_finder.committed(item_id)

    def cleared(self) -> None:
        """The client cleared the sound since the last commit, processed or not."""
        for late in self.pending_audio.remove_stream_audio():
            self._turn_finder.skip(late.samples_left, late.format)
        self._turn_finder.cleared()

    # ---- items

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """The client added an item: text, a picture, recorded sound, a tool's result, or history."""
        self._now_ms = now_ms
        for content in contents_of(item):
            match content:
                case Sound(base64):
                    self.pending_audio.put(self._turn_finder.recording(str(item.get("id")), base64), now_ms)
                case PastCall(call_id, tool, arguments):
                    self._answerer.past(self._unanswered.take(), "")
                    self._answerer.past_call(call_id, tool, arguments)
                case PastAnswer(text):  # it answers the inputs before it
                    self._answerer.past(self._unanswered.take(), text)
                case Typed() | Picture() | ToolOutput():
                    self._unanswered.add(content)
                case _:
                    assert_never(content)

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """Truncation has no effect here: the dialogue's state does not depend on what the caller heard."""

    # ---- answers

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Answer the inputs since the last answer, or speak the request's `pre_generated_assistant_message`."""
        self._now_ms = now_ms
        given = request.get("pre_generated_assistant_message")
        input_items = request.get("input")
        out_of_band = request.get("conversation") == "none"
        if isinstance(given, Mapping):
            text = spoken_text(given)
            if not out_of_band:
                self._answerer.said(text)
            self._answers.begin(response, ReadyAnswer(text, None), now_ms)
        elif out_of_band or isinstance(input_items, list):
            inputs = inputs_of(input_items) if isinstance(input_items, list) else []
            self._answers.begin(response, self._answerer.answer_out_of_band(inputs), now_ms)
        else:
            self._answers.request(response)
        self._continue()

    def stopped(self, response_id: str) -> None:
        """The answer was cancelled or interrupted: the rest of it is not generated."""
        self._answers.stop(response_id)

    # ---- time

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next: to process sound, to speak, or to poll an endpoint."""
        parts = (self._answers, self._transcripts, self.pending_audio)
        times = [part.due_ms(self._now_ms) for part in parts]
        return min((due_ms for due_ms in times if due_ms is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        """Continue to process sound, recognise speech and speak."""
        self._now_ms = now_ms
        if not self.pending_audio.on_time(now_ms):
            self._continue()

    def close(self) -> None:
        """The call has ended."""
        self._transcripts.drop()
        self.pending_audio.close()
        self._turn_finder.close()
        self._answers.close()

    def _continue(self) -> None:
        self._transcripts.work()
        if not self._turn_finder.announcing:  # the transcript must be sent before the answer to it
            self._answers.advance(self._now_ms)


def _format_of(session: JsonObject) -> AudioFormat:
    match session:
        case {"audio": {"input": {"format": {"type": str(name)}}}}:
            return FORMATS.get(name, PCM16_24K)
    return PCM16_24K


def _detection_of(session: JsonObject) -> JsonObject | None:
    """The session's turn detection; None: the client commits the turns."""
    match session:
        case {"audio": {"input": {"turn_detection": Mapping() as detection}}}:
            return detection
    return None
