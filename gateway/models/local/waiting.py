"""Sound that waits to be heard: a caller's that came in one piece, and whole recordings that came as items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from audio.formats import AudioFormat, AudioFrame
from gateway.models.local.backlog import FRAME_MS, SLICE_MS, Roster
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


class WaitingSound:
    """One call's sound that waits, in order, and the slot in which the next slice of it is heard."""

    def __init__(self, roster: Roster, heard_out: Callable[[Recording], None]) -> None:
        """`roster` is shared with the other calls of the process; `heard_out` takes each recording at its end."""
        self._roster = roster
        self._heard_out = heard_out
        self._waiting: deque[LateSound | Recording] = deque()
        self._slot_ms: int | None = None  # always booked while something waits
        self._heard_some = False  # what comes of a slice is done in a step of its own, as it may be as much work

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def with_item(self) -> bool:
        """Whether a recording is among it, which is not the client's to take back."""
        return any(isinstance(late, Recording) for late in self._waiting)

    def put(self, late: LateSound | Recording, now_ms: int) -> None:
        """Let this wait, behind all else."""
        self._waiting.append(late)
        self._book(now_ms)

    def take_back(self) -> list[LateSound]:
        """The caller's own sound, of which nothing more is heard; recordings stay."""
        taken = [late for late in self._waiting if isinstance(late, LateSound)]
        self._waiting = deque(late for late in self._waiting if isinstance(late, Recording))
        if not self._waiting:
            self._slot_ms = None
        return taken

    def due_ms(self, now_ms: int) -> int | None:
        """When `on_time` is to be called next."""
        if self._heard_some:
            return now_ms if self._slot_ms is None else min(now_ms, self._slot_ms)
        return self._slot_ms

    def on_time(self, now_ms: int) -> bool:
        """Hear a slice, if it is time for one. False: it is not, or this time is for what came of the slice before."""
        if self._slot_ms is None or now_ms < self._slot_ms or self._heard_some:
            self._heard_some = False
            return False
        self._slot_ms = None
        if self._roster.begin(now_ms):
            self._hear_slice()
            self._heard_some = True
        self._book(now_ms)
        return True

    def hear_all(self) -> None:
        """Hear it now, for whoever does not hold back what depends on it."""
        while self._waiting:
            self._hear_slice()
        self._slot_ms = None

    def close(self) -> None:
        """The call is over."""
        for late in self._waiting:
            if isinstance(late, Recording):
                late.hearing.forget()
        self._waiting.clear()
        self._slot_ms = None
        self._heard_some = False

    def _hear_slice(self) -> None:
        if not self._waiting or not self._waiting[0].work():
            return
        done = self._waiting.popleft()
        if isinstance(done, Recording):
            self._heard_out(done)

    def _book(self, now_ms: int) -> None:
        if not self._waiting:
            self._slot_ms = None
        elif self._slot_ms is None:
            self._slot_ms = self._roster.book(now_ms)
