"""Between the caller's sound and their turns, found or taken by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pybase64

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.models.local.hearing import Hearing, SpeechBegan, SpeechOver
from gateway.models.local.listeners import Listener
from gateway.models.local.mind import Input, Spoken
from gateway.models.local.transcripts import Transcript, Transcripts
from gateway.models.local.waiting import LateSound, Recording
from gateway.realtime.brain import Ear
from sessions.ports import JsonObject


class Ears:
    """One call's: tells the server of the turns that it hears, and has their transcripts followed."""

    def __init__(
        self,
        ear: Ear,
        listener: Listener,
        transcripts: Transcripts,
        take: Callable[[Input], None],
        expects: Callable[[], str],
    ) -> None:
        """`take` is given each turn before it is known what it says; `expects` names the grammar."""
        self._ear = ear
        self._listener = listener
        self._transcripts = transcripts
        self._take = take
        self._expects = expects
        self._hearing = listener.hearing()
        self._format = PCM16_24K
        self._by_hand = False
        self._state = ""  # of the dialogue when the speech under way began
        self._heard: SpeechOver | None = None  # speech that waits for the client's commit
        self.telling = False  # a turn is being made, and its transcript has not been told yet

    def configure(self, format: AudioFormat, turn_detection: JsonObject | None) -> None:
        """Take over the session's formats and wishes."""
        self._format = format
        self._by_hand = turn_detection is None
        self._hearing.configure(format, turn_detection)

    # ---- the caller's stream

    def heard(self, frame: AudioFrame) -> None:
        """Sound of the caller."""
        for event in self._hearing.heard(frame, self._expects()):
            match event:
                case SpeechBegan(at_ms):
                    self._state = self._expects()
                    if not self._by_hand:
                        self._ear.speech_started(at_ms)
                case SpeechOver(at_ms):
                    if self._by_hand:
                        self._heard = event
                        continue
                    transcript = self._transcript(self._hearing, self._state, event)
                    self._turn(partial(self._ear.speech_stopped, at_ms), transcript)

    def later(self, frame: AudioFrame) -> LateSound:
        """Sound of the caller, too much of it for now: it is heard as it is worked off."""
        return LateSound(frame, self._hearing, self.heard)

    def missed(self, samples: int, format: AudioFormat) -> None:
        """Sound that was taken back before it was heard: only its length counts. `cleared` is to follow."""
        self._hearing.skip(samples, format)

    def committed(self, item_id: str) -> None:
        """The client made an item of the sound so far."""
        over, self._heard = self._heard, None
        if over is None:
            over = self._hearing.cut()
        self._turn(lambda: item_id, self._transcript(self._hearing, self._state, over))

    def cleared(self) -> None:
        """The client took back the sound so far."""
        self._heard = None
        self._hearing.forget()

    def close(self) -> None:
        """The call is over."""
        self._hearing.forget()

    # ---- recordings

    def recording(self, item_id: str, sound: str) -> Recording:
        """A whole recording, base64, that came as an item. Once it is worked off, `heard_out` is to follow."""
        spoken = Spoken(item_id, free=self._listener.free)
        self._take(spoken)
        return Recording(spoken, self._listener.hearing(), self._expects(), pybase64.b64decode(sound), self._format)

    def heard_out(self, recording: Recording) -> None:
        """A recording was heard to its end: find out what it says."""
        transcript = self._transcript(recording.hearing, recording.state, recording.over)
        self._transcripts.follow(recording.spoken, transcript)

    # ---- turns

    def _transcript(self, hearing: Hearing, state: str, over: SpeechOver | None) -> Transcript | None:
        return None if over is None else self._listener.transcript(hearing, state, over.speech_ms)

    def _turn(self, item: Callable[[], str], transcript: Transcript | None) -> None:
        """Make a turn of the caller's. The item exists before its transcript, and the answer waits for both."""
        spoken = Spoken("", free=self._listener.free)
        self._take(spoken)
        self.telling = True
        try:
            spoken.item_id = item()
        finally:
            self.telling = False
        self._transcripts.follow(spoken, transcript)
