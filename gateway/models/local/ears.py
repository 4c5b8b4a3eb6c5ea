"""Between the caller's sound and what they said: turns, found or taken by hand, and their transcripts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import pybase64

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.models.local.detector import SpeechModel
from gateway.models.local.hearing import Hearing, SpeechBegan, SpeechOver
from gateway.models.local.mind import Input, Spoken
from gateway.models.local.recogniser import Recogniser
from gateway.models.local.rules import Dialogue
from gateway.models.local.verdict import accepted
from gateway.models.local.waiting import LateSound, Recording
from gateway.realtime.brain import Ear
from sessions.ports import JsonObject


class Transcript(Protocol):
    """What speech says, while that is being found out."""

    @property
    def by_work(self) -> bool:
        """Whether it is found out by `work`, and not elsewhere."""
        ...

    @property
    def done(self) -> bool:
        """Whether it is known."""
        ...

    @property
    def text(self) -> str | None:
        """The words; None: they could not be made out."""
        ...

    def work(self) -> None:
        """Go on; a few ms at most."""
        ...


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


class Ears:
    """One call's: tells the server what it hears, and `take` what was said. `expects` names the grammar."""

    def __init__(self, ear: Ear, listener: Listener, take: Callable[[Input], None], expects: Callable[[], str]) -> None:
        self._ear = ear
        self._listener = listener
        self._take = take
        self._expects = expects
        self._hearing = listener.hearing()
        self._format = PCM16_24K
        self._by_hand = False
        self._state = ""  # of the dialogue when the speech under way began
        self._heard: SpeechOver | None = None  # speech that waits for the client's commit
        self._open: list[tuple[Spoken, Transcript]] = []
        self._waiting: deque[LateSound | Recording] = deque()
        self.telling = False  # a turn is being made, and its transcript has not been told yet

    def configure(self, format: AudioFormat, turn_detection: JsonObject | None) -> None:
        """Take over the session's formats and wishes."""
        self._format = format
        self._by_hand = turn_detection is None
        self._hearing.configure(format, turn_detection)

    def heard(self, frame: AudioFrame) -> None:
        """Sound of the caller."""
        for event in self._hearing.heard(frame, self._expects()):
            match event:
                case SpeechBegan(at_ms):
                    self._state = self._expects()
                    if not self._by_hand:
                        self._ear.speech_started(at_ms)
                case SpeechOver(at_ms, speech_ms):
                    if self._by_hand:
                        self._heard = event
                        continue
                    transcript = self._listener.transcript(self._hearing, self._state, speech_ms)
                    self._turn(partial(self._ear.speech_stopped, at_ms), transcript)

    def committed(self, item_id: str) -> None:
        """The client made an item of the sound so far."""
        over, self._heard = self._heard, None
        if over is None:
            over = self._hearing.cut()
        transcript = None
        if over is not None:
            transcript = self._listener.transcript(self._hearing, self._state, over.speech_ms)
        self._turn(lambda: item_id, transcript)

    def cleared(self) -> None:
        """The client took back the sound so far, also what waits to be heard."""
        self._heard = None
        for late in self._waiting:
            if isinstance(late, LateSound):
                self._hearing.skip(late.samples_left, late.format)
        self._waiting = deque(late for late in self._waiting if isinstance(late, Recording))
        self._hearing.forget()

    # ---- sound that waits to be heard

    @property
    def behind(self) -> bool:
        """Whether sound waits to be heard. Whatever comes next has to wait as well."""
        return bool(self._waiting)

    @property
    def behind_with_item(self) -> bool:
        """Whether a recording is among it."""
        return any(isinstance(late, Recording) for late in self._waiting)

    def heard_later(self, frame: AudioFrame) -> None:
        """Sound of the caller, too much of it for now."""
        self._waiting.append(LateSound(frame, self._hearing, self.heard))

    def missed(self, frame: AudioFrame) -> None:
        """Sound that was taken back before it came here: only its length counts."""
        self._hearing.skip(frame.samples, frame.format)

    def recorded(self, item_id: str, sound: str) -> None:
        """A whole recording, base64, that came as an item."""
        spoken = Spoken(item_id, free=self._listener.free)
        self._take(spoken)
        payload = pybase64.b64decode(sound)
        self._waiting.append(Recording(spoken, self._listener.hearing(), self._expects(), payload, self._format))

    def catch_up(self) -> None:
        """Hear a slice of what waits."""
        if not self._waiting or not self._waiting[0].work():
            return
        done = self._waiting.popleft()
        if isinstance(done, Recording):
            over = done.over
            self._turn_made(
                done.spoken,
                None if over is None else self._listener.transcript(done.hearing, done.state, over.speech_ms),
            )

    # ---- what was said

    @property
    def busy(self) -> bool:
        """Whether something is still being made out."""
        return bool(self._open)

    @property
    def by_work(self) -> bool:
        """Whether some of it is made out by `work`, and waits for nothing else."""
        return any(transcript.by_work for _, transcript in self._open)

    def work(self) -> None:
        """Go on making it out."""
        for spoken, transcript in self._open:
            transcript.work()
            if transcript.done:
                self._settle(spoken, transcript.text)
        self._open = [(spoken, transcript) for spoken, transcript in self._open if not spoken.settled]

    def close(self) -> None:
        """The call is over."""
        self._open.clear()
        for late in self._waiting:
            if isinstance(late, Recording):
                late.hearing.forget()
        self._waiting.clear()
        self._hearing.forget()

    def _turn(self, item: Callable[[], str], transcript: Transcript | None) -> None:
        """Make a turn of the caller's. The item exists before its transcript, and the answer waits for both."""
        spoken = Spoken("", free=self._listener.free)
        self._take(spoken)
        self.telling = True
        try:
            spoken.item_id = item()
        finally:
            self.telling = False
        self._turn_made(spoken, transcript)

    def _turn_made(self, spoken: Spoken, transcript: Transcript | None) -> None:
        if transcript is None or transcript.done:
            self._settle(spoken, None if transcript is None else transcript.text)
        else:
            self._open.append((spoken, transcript))

    def _settle(self, spoken: Spoken, text: str | None) -> None:
        spoken.text = text
        spoken.settled = True
        self._ear.transcribed(spoken.item_id, text or "")
