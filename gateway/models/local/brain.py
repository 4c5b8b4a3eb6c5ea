"""The embedded model behind a `RealtimeServer`: listens, has a mind think of answers, and speaks them.

Everything of its own is synchronous and inline, so that a call on it can be replayed in virtual time. What comes from
elsewhere (an endpoint) is looked for every 20 ms while it is awaited. While sound is `waiting` to be heard, nothing but
the time and a cancelled answer is to reach the brain: `server.py` sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.models.local.answering import Answers, Unanswered
from gateway.models.local.backlog import Pace, Roster
from gateway.models.local.ears import Ears
from gateway.models.local.items import PastAnswer, PastCall, Sound, inputs_of, told_by
from gateway.models.local.listeners import Listener
from gateway.models.local.mind import Mind, Picture, ToolOutput, Typed
from gateway.models.local.mind import Ready as ReadyThought
from gateway.models.local.speaking import Mouth
from gateway.models.local.transcripts import Transcripts
from gateway.models.local.waiting import WaitingSound
from gateway.realtime.brain import Ear, OpenResponse
from gateway.realtime.owners import spoken_text
from gateway.realtime.wire_formats import FORMATS
from sessions.ports import JsonObject


class LocalBrain:
    """One caller's partner."""

    def __init__(self, ear: Ear, listener: Listener, mind: Mind, mouth: Mouth, roster: Roster) -> None:
        """`roster` is shared with the other calls of the process."""
        self._mind = mind
        self._unanswered = Unanswered()
        self._transcripts = Transcripts(ear)
        self._ears = Ears(ear, listener, self._transcripts, self._unanswered.add, lambda: mind.expects)
        self._pace = Pace(PCM16_24K)
        self.waiting = WaitingSound(roster, self._ears.heard_out)
        self._answers = Answers(mind, mouth, self._unanswered)
        self._now_ms = 0

    def configured(self, session: JsonObject) -> None:
        """The session's formats, turn detection, instructions and tools."""
        self.waiting.hear_all()
        sound = _format_of(session)
        self._pace = Pace(sound)
        self._ears.configure(sound, _detection_of(session))
        self._mind.configured(session)

    # ---- the caller's sound

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Sound of the caller. Of more than comes in time, most is heard in `on_time`."""
        self._now_ms = now_ms
        if self._pace.allows(len(frame.payload), now_ms) and not self.waiting:
            self._ears.heard(frame)
        else:
            self.waiting.put(self._ears.later(frame), now_ms)
        self._go_on()

    def missed(self, frame: AudioFrame) -> None:
        """Sound that the caller took back before it was heard."""
        self._ears.missed(frame.samples, frame.format)

    def committed(self, item_id: str, now_ms: int) -> None:
        """The caller ended the turn by hand."""
        self._now_ms = now_ms
        self.waiting.hear_all()
        self._ears.committed(item_id)

    def cleared(self) -> None:
        """The caller took back what was not committed, heard or not."""
        for late in self.waiting.take_back():
            self._ears.missed(late.samples_left, late.format)
        self._ears.cleared()

    # ---- items

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """Something typed, a picture, recorded sound, a tool's result, or history."""
        self._now_ms = now_ms
        for told in told_by(item):
            match told:
                case Sound(base64):
                    self.waiting.put(self._ears.recording(str(item.get("id")), base64), now_ms)
                case PastCall(call_id, tool, arguments):
                    self._mind.past(self._unanswered.take(), "")
                    self._mind.past_call(call_id, tool, arguments)
                case PastAnswer(text):  # what lies before it was answered by it
                    self._mind.past(self._unanswered.take(), text)
                case Typed() | Picture() | ToolOutput():
                    self._unanswered.add(told)
                case _:
                    assert_never(told)

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """What was not heard changes nothing in what was meant."""

    # ---- answers

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Answer what has come since the last answer, or say what is given."""
        self._now_ms = now_ms
        given = request.get("pre_generated_assistant_message")
        own_input = request.get("input")
        apart = request.get("conversation") == "none"
        if isinstance(given, Mapping):
            text = spoken_text(given)
            if not apart:
                self._mind.said(text)
            self._answers.begin(response, ReadyThought(text, None), now_ms)
        elif apart or isinstance(own_input, list):
            inputs = inputs_of(own_input) if isinstance(own_input, list) else []
            self._answers.begin(response, self._mind.answer_apart(inputs), now_ms)
        else:
            self._answers.ask(response)
        self._go_on()

    def stopped(self, response_id: str) -> None:
        """The answer was cut: the rest of it is never made."""
        self._answers.stop(response_id)

    # ---- time

    @property
    def deadline_ms(self) -> int | None:
        """When to go on hearing or speaking, or to look for what is awaited."""
        parts = (self._answers, self._transcripts, self.waiting)
        times = [part.due_ms(self._now_ms) for part in parts]
        return min((due_ms for due_ms in times if due_ms is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        """Go on."""
        self._now_ms = now_ms
        if not self.waiting.on_time(now_ms):
            self._go_on()

    def close(self) -> None:
        """The call is over."""
        self._transcripts.drop()
        self.waiting.close()
        self._ears.close()
        self._answers.close()

    def _go_on(self) -> None:
        self._transcripts.work()
        if not self._ears.telling:  # the transcript goes out before the answer to it
            self._answers.go_on(self._now_ms)


def _format_of(session: JsonObject) -> AudioFormat:
    match session:
        case {"audio": {"input": {"format": {"type": str(name)}}}}:
            return FORMATS.get(name, PCM16_24K)
    return PCM16_24K


def _detection_of(session: JsonObject) -> JsonObject | None:
    """None: the client takes turns by hand."""
    match session:
        case {"audio": {"input": {"turn_detection": Mapping() as detection}}}:
            return detection
    return None
