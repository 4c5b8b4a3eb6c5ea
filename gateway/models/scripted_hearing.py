"""The scripted model's hearing: turns by the energy of the sound, transcripts by the script."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from audio.formats import AudioFrame
from gateway.models.scripted_answer import pieces
from gateway.models.scripted_shape import Hears
from gateway.models.scripted_sound import EnergyEar, Heard
from gateway.realtime import fields
from gateway.realtime.brain import Ear
from sessions.ports import JsonObject

EAGERNESS_MS = {"low": 1000, "medium": 600, "auto": 600, "high": 300}  # of silence that ends a turn, in semantic_vad


class ScriptedHearing:
    """Finds the caller's turns, and tells in time what the script has them say."""

    def __init__(self, ear: Ear, voice_gate: int, spoke: Callable[[], None]) -> None:
        """`voice_gate`: the root mean square of 16-bit samples above which there is speech. `spoke`: a turn began."""
        self._ear = ear
        self._spoke = spoke
        self._energy = EnergyEar(voice_gate)
        self._detects = True
        self._last_item: str | None = None  # that the caller spoke
        self._to_tell: list[tuple[int, int, Callable[[], None]]] = []  # a heap: when, in which order, what
        self._told = 0

    def configure(self, session: JsonObject) -> None:
        """The session's way to find turns is emulated by energy."""
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
        """Listen, unless the client takes turns by hand."""
        if not self._detects:
            return
        for notice in self._energy.feed(frame):
            if notice.what is Heard.STARTED:
                self._last_item = self._ear.speech_started(notice.at_ms)
                self._spoke()
            else:
                self._ear.speech_stopped(notice.at_ms)

    def committed(self, item_id: str) -> None:
        """A turn by hand."""
        self._energy.reset()
        self._last_item = item_id
        self._spoke()

    def cleared(self) -> None:
        """The sound was taken back."""
        self._energy.reset()

    def tell_later(self, hears: Hears, now_ms: int) -> None:
        """Tell, when its time comes, that the caller's last turn says this."""
        item_id = self._last_item
        if item_id is None:
            return

        def tell() -> None:
            if hears.fails:
                self._ear.not_transcribed(item_id, "audio_unintelligible", "The audio could not be understood.")
                return
            if hears.parts:
                for piece in pieces(hears.text.split()):
                    self._ear.transcribed_part(item_id, piece)
            self._ear.transcribed(item_id, hears.text)

        self._told += 1
        heapq.heappush(self._to_tell, (now_ms + hears.after_ms, self._told, tell))

    @property
    def deadline_ms(self) -> int | None:
        """When something is to be told."""
        return self._to_tell[0][0] if self._to_tell else None

    def on_time(self, now_ms: int) -> None:
        """Tell what is due."""
        due = []
        while self._to_tell and self._to_tell[0][0] <= now_ms:
            due.append(heapq.heappop(self._to_tell)[2])
        for tell in due:
            tell()

    def close(self) -> None:
        """The session is over."""
        self._to_tell.clear()
