"""Sound that waits to be heard: a caller's that came in one piece, and whole recordings that came as items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from audio.formats import AudioFormat, AudioFrame
from gateway.models.local.backlog import FRAME_MS, SLICE_MS
from gateway.models.local.hearing import Hearing, SpeechOver
from gateway.models.local.mind import Spoken

PIECES = SLICE_MS // FRAME_MS


def pieces_of(frame: AudioFrame) -> Iterator[AudioFrame]:
    """The frame in steps of 20 ms; half a sample at its end is left away."""
    format, payload = frame.format, frame.payload
    step = format.bytes_for_ms(FRAME_MS)
    for begin in range(0, len(payload) - len(payload) % format.sample_bytes, step):
        yield AudioFrame(payload[begin : begin + step], format, frame.start_sample + begin // format.sample_bytes)


class LateSound:
    """The caller's sound, in one long frame."""

    def __init__(self, frame: AudioFrame, hearing: Hearing, hear: Callable[[AudioFrame], None]) -> None:
        """`hear` takes the sound; `hearing` tells whether it could not follow."""
        self.format = frame.format
        self.samples_left = frame.samples
        self._pieces = pieces_of(frame)
        self._hearing = hearing
        self._hear = hear

    def work(self) -> bool:
        """Hear a slice; whether that was all."""
        if self._hearing.pressed:  # all decoders are in use: the next sentence would take this one's place
            self._hearing.make_out()
            return False
        pieces = list(islice(self._pieces, PIECES))
        for piece in pieces:
            self.samples_left -= piece.samples
            self._hear(piece)
        return len(pieces) < PIECES


class Recording:
    """A whole recording, heard by ears of its own: all speech in it is one turn."""

    def __init__(self, spoken: Spoken, hearing: Hearing, state: str, payload: bytes, format: AudioFormat) -> None:
        hearing.configure(format, None)
        self.spoken = spoken
        self.hearing = hearing
        self.state = state
        self.over: SpeechOver | None = None  # once all is heard; None: nobody speaks in it
        self._pieces = pieces_of(AudioFrame(payload, format, 0))

    def work(self) -> bool:
        """Hear a slice; whether that was all."""
        pieces = list(islice(self._pieces, PIECES))
        for piece in pieces:
            for event in self.hearing.heard(piece, self.state):
                self.over = event if isinstance(event, SpeechOver) else None
        if len(pieces) == PIECES:
            return False
        self.over = self.hearing.cut() or self.over
        return True
