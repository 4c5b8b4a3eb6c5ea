"""The scripted model's hearing: turns are found by the sound's energy, transcripts come from the script."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from audio.formats import AudioFrame
from gateway.models.scripted.answer import pieces
from gateway.models.scripted.shape import Hears
from gateway.models.scripted.sound import EnergyEar, Heard
from gateway.realtime import fields
from gateway.realtime.server.brain import TurnEvents
from sessions.ports import JsonObject

# The silence, in ms, that ends a turn for each eagerness of semantic_vad.
EAGERNESS_MS = {"low": 1000, "medium": 600, "auto": 600, "high": 300}


class ScriptedHearing:
    """Finds the caller's turns, and sends the transcripts that the script has for them."""

    def __init__(self, ear: TurnEvents, voice_gate: int, spoke: Callable[[], None]) -> None:
        """`voice_gate`: the root mean square of 16-bit samples above which there is speech.

        `spoke` is called when a turn begins.
        """
        self._ear = ear
        self._spoke = spoke
        self._energy = EnergyEar(voice_gate)
        self._detects = True
        self._last_item: str | None = None  # the item of the caller's newest turn
        # A heap of due time, sequence number and the function that sends a transcript.
        self._pending: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def configure(self, session: JsonObject) -> None:
        """Take over the session's turn detection, which is emulated by energy."""
        detection = fields.inside(session, "audio", "input", "turn_detection")
        was, self._detects = self._detects, isinstance(detection, Mapping)
        if was and not self._detects:
            self._energy.reset()
        if isinstance(detection, Mapping):
            silence = detection.get("silence_duration_ms", EAGERNESS_MS[str(detection.get("eagerness", "auto"))])
            prefix = detection.get("prefix_padding_ms", 300)
            assert isinstance(silence, int), "the session was checked"
            assert isinstance(prefix, int), "the session was checked"
            self._energy.configure(silence, prefix)

    def heard(self, frame: AudioFrame) -> None:
        """Listen to a frame, unless the client commits turns by hand."""
        if not self._detects:
            return
        for notice in self._energy.feed(frame):
            if notice.what is Heard.STARTED:
                self._last_item = self._ear.speech_started(notice.at_ms)
                self._spoke()
            else:
                self._ear.speech_stopped(notice.at_ms)

    def committed(self, item_id: str) -> None:
        """Note that the client has committed a turn by hand."""
        self._energy.reset()
        self._last_item = item_id
        self._spoke()

    def cleared(self) -> None:
        """Forget the sound that the client has cleared."""
        self._energy.reset()

    def transcribe_later(self, hears: Hears, now_ms: int) -> None:
        """Send the transcript of the caller's newest turn, `hears.after_ms` from now."""
        item_id = self._last_item
        if item_id is None:
            return

        def transcribe() -> None:
            if hears.fails:
                self._ear.not_transcribed(item_id, "audio_unintelligible", "The audio could not be understood.")
                return
            if hears.parts:
                for piece in pieces(hears.text.split()):
                    self._ear.transcribed_part(item_id, piece)
            self._ear.transcribed(item_id, hears.text)

        self._sequence += 1
        heapq.heappush(self._pending, (now_ms + hears.after_ms, self._sequence, transcribe))

    @property
    def deadline_ms(self) -> int | None:
        """When the next transcript is due; None if there is none."""
        return self._pending[0][0] if self._pending else None

    def on_time(self, now_ms: int) -> None:
        """Send the transcripts that are due."""
        due = []
        while self._pending and self._pending[0][0] <= now_ms:
            due.append(heapq.heappop(self._pending)[2])
        for transcribe in due:
            transcribe()

    def close(self) -> None:
        """End the session."""
        self._pending.clear()
