"""Sound that waits to be processed: long pieces of the caller's stream, and recordings that arrived as items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from audio.formats import AudioFormat, AudioFrame
from gateway.models.local.dialogue.answerer import Spoken
from gateway.models.local.speech.bulk_audio import FRAME_MS, SLICE_MS, SliceSchedule
from gateway.models.local.speech.caller_speech import CallerSpeech, SpeechEnded

PIECES = SLICE_MS // FRAME_MS


def pieces_of(frame: AudioFrame) -> Iterator[AudioFrame]:
    """Split a frame into pieces of 20 ms; half a sample at its end is dropped."""
    format, payload = frame.format, frame.payload
    step = format.bytes_for_ms(FRAME_MS)
    for begin in range(0, len(payload) - len(payload) % format.sample_bytes, step):
        yield AudioFrame(payload[begin : begin + step], format, frame.start_sample + begin // format.sample_bytes)


class BulkAudio:
    """A long frame of the caller's stream."""

    def __init__(self, frame: AudioFrame, caller_speech: CallerSpeech, process: Callable[[AudioFrame], None]) -> None:
        """`process` takes the sound piece by piece; `caller_speech` tells whether its decoder is behind."""
        self.format = frame.format
        self.samples_left = frame.samples
        self._pieces = pieces_of(frame)
        self._caller_speech = caller_speech
        self._process = process

    def work(self) -> bool:
        """Process a slice; returns whether that was the last."""
        if self._caller_speech.decoder_behind:  # all decoders are in use: a next sentence would replace this one
            self._caller_speech.decode_waiting()
            return False
        pieces = list(islice(self._pieces, PIECES))
        for piece in pieces:
            self.samples_left -= piece.samples
            self._process(piece)
        return len(pieces) < PIECES


class Recording:
    """A whole recording, processed apart from the caller's stream: all speech in it is one turn."""

    def __init__(
        self, spoken: Spoken, caller_speech: CallerSpeech, state: str, payload: bytes, format: AudioFormat
    ) -> None:
        caller_speech.configure(format, None)
        self.spoken = spoken
        self.caller_speech = caller_speech
        self.state = state
        self.over: SpeechEnded | None = None  # set once all is processed; None: there is no speech in it
        self._pieces = pieces_of(AudioFrame(payload, format, 0))

    def work(self) -> bool:
        """Process a slice; returns whether that was the last."""
        pieces = list(islice(self._pieces, PIECES))
        for piece in pieces:
            for event in self.caller_speech.feed(piece, self.state):
                self.over = event if isinstance(event, SpeechEnded) else None
        if len(pieces) == PIECES:
            return False
        self.over = self.caller_speech.end_speech() or self.over
        return True


class PendingAudio:
    """One call's pending sound, in order, and the slot in which its next slice is processed."""

    def __init__(self, schedule: SliceSchedule, recording_finished: Callable[[Recording], None]) -> None:
        """`schedule` is shared by all calls of the process; `recording_finished` gets each recording at its end."""
        self._schedule = schedule
        self._recording_finished = recording_finished
        self._waiting: deque[BulkAudio | Recording] = deque()
        self._slot_ms: int | None = None  # always booked while sound is pending
        # What follows from a slice is done in a separate step, because it may be as much work as the slice.
        self._processed_slice = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def has_recording(self) -> bool:
        """Whether a recording is pending; a clear does not discard it."""
        return any(isinstance(late, Recording) for late in self._waiting)

    def put(self, late: BulkAudio | Recording, now_ms: int) -> None:
        """Append sound."""
        self._waiting.append(late)
        self._book(now_ms)

    def remove_stream_audio(self) -> list[BulkAudio]:
        """Remove and return the pending sound of the caller's stream; recordings stay."""
        taken = [late for late in self._waiting if isinstance(late, BulkAudio)]
        self._waiting = deque(late for late in self._waiting if isinstance(late, Recording))
        if not self._waiting:
            self._slot_ms = None
        return taken

    def due_ms(self, now_ms: int) -> int | None:
        """When `on_time` is to be called next."""
        if self._processed_slice:
            return now_ms if self._slot_ms is None else min(now_ms, self._slot_ms)
        return self._slot_ms

    def on_time(self, now_ms: int) -> bool:
        """Process a slice if its slot has come. False: it has not, or this step is for the last slice's results."""
        if self._slot_ms is None or now_ms < self._slot_ms or self._processed_slice:
            self._processed_slice = False
            return False
        self._slot_ms = None
        if self._schedule.begin(now_ms):
            self._process_slice()
            self._processed_slice = True
        self._book(now_ms)
        return True

    def process_all(self) -> None:
        """Process all pending sound now, before an event that depends on it and cannot be deferred."""
        while self._waiting:
            self._process_slice()
        self._slot_ms = None

    def close(self) -> None:
        """The call has ended: drop the pending sound."""
        for late in self._waiting:
            if isinstance(late, Recording):
                late.caller_speech.forget()
        self._waiting.clear()
        self._slot_ms = None
        self._processed_slice = False

    def _process_slice(self) -> None:
        if not self._waiting or not self._waiting[0].work():
            return
        done = self._waiting.popleft()
        if isinstance(done, Recording):
            self._recording_finished(done)

    def _book(self, now_ms: int) -> None:
        if not self._waiting:
            self._slot_ms = None
        elif self._slot_ms is None:
            self._slot_ms = self._schedule.book(now_ms)
