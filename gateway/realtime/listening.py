"""The hearing half of a Realtime server: the input buffer, and the caller's items that come out of it."""

from __future__ import annotations

from collections.abc import Callable

from audio.formats import AudioFormat, AudioFrame
from gateway.realtime import items, server_events
from gateway.realtime.conversation import Conversation
from gateway.realtime.input_buffer import InputBuffer
from gateway.realtime.outlet import Outlet
from sessions.errors import WireError

MIN_COMMIT_MS = 100
MAX_TIMED_ITEMS = 64  # whose length is remembered until their transcription comes


def _nobody() -> None:
    """Nobody is told."""


class Listening:
    """Turns what the brain hears, and what the client commits, into events and items: the brain's `Ear`.

    `on_speech` is called when the caller starts, `on_turn` when voice detection has made an item of what they said.
    """

    def __init__(
        self,
        out: Outlet,
        conversation: Conversation,
        format: AudioFormat,
        on_speech: Callable[[], None],
        on_turn: Callable[[], None],
    ) -> None:
        self._out = out
        self._conversation = conversation
        self._buffer = InputBuffer(format)
        self._on_speech = on_speech
        self._on_turn = on_turn
        self._speaking: str | None = None  # the item that open speech will be
        self._early: dict[str, str] = {}  # transcripts of items that are not there yet
        self._seconds: dict[str, float] = {}
        self.by_hand = False  # nobody but the client ends a turn
        self.transcribes = False

    def close(self) -> None:
        """Hear nothing any more, and let go of the sound and of whoever was told."""
        self._buffer.clear()
        self._on_speech = self._on_turn = _nobody

    @property
    def format(self) -> AudioFormat:
        """The format in which sound is appended."""
        return self._buffer.format

    def configure(self, format: AudioFormat, *, by_hand: bool, transcribes: bool) -> None:
        """Take over what the session says about hearing."""
        self._buffer.set_format(format)
        self.by_hand = by_hand
        self.transcribes = transcribes

    def append(self, payload: bytes) -> AudioFrame:
        """Take sound in, and give it its place in time."""
        return self._buffer.append(payload, idle=self._speaking is None and not self.by_hand)

    def commit(self) -> str:
        """Make an item of the buffered sound, at the client's word; returns its id. Raises WireError for too little."""
        pending_ms = self._buffer.pending_ms
        if pending_ms < MIN_COMMIT_MS:
            raise WireError(
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {pending_ms:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        return self._make_item()

    def clear(self) -> None:
        """Forget the buffered sound, and open speech with it."""
        self._speaking = None
        self._buffer.clear()
        self._out.send(server_events.cleared)

    # ---- the brain's ear

    def speech_started(self, at_ms: int) -> str:
        """The caller speaks."""
        item_id = self._speaking = self._out.new_id("item")
        self._out.send(server_events.speech_started, item_id, at_ms)
        self._on_speech()
        return item_id

    def speech_stopped(self, at_ms: int) -> str:
        """The caller has stopped."""
        assert self._speaking is not None, "no speech is open"
        self._out.send(server_events.speech_stopped, self._speaking, at_ms)
        item_id = self._make_item()
        self._on_turn()
        return item_id

    def transcribed_part(self, item_id: str, text: str) -> None:
        """A further piece of what the caller said."""
        if self.transcribes:
            self._out.send(server_events.transcription_delta, item_id, text)

    def transcribed(self, item_id: str, text: str) -> None:
        """All that the caller said in this item."""
        if not self.transcribes:
            return
        if item_id == self._speaking:
            self._early[item_id] = text
        self._conversation.set_transcript(item_id, text)
        seconds = self._seconds.pop(item_id, self._buffer.pending_ms / 1000)
        self._out.send(server_events.transcription_completed, item_id, text, seconds)

    def not_transcribed(self, item_id: str, code: str, message: str) -> None:
        """What the caller said could not be made out."""
        if self.transcribes:
            self._seconds.pop(item_id, None)
            self._out.send(server_events.transcription_failed, item_id, code, message)

    def _make_item(self) -> str:
        item_id = self._speaking or self._out.new_id("item")
        self._speaking = None
        self._seconds[item_id] = self._buffer.pending_ms / 1000
        if len(self._seconds) > MAX_TIMED_ITEMS:
            self._seconds.pop(next(iter(self._seconds)))
        item = items.user_audio(item_id, self._early.pop(item_id, None))
        self._early.clear()
        self._out.send(server_events.committed, item_id, self._conversation.last_id)
        previous = self._conversation.add(item)
        self._conversation.sound.add(item_id, self._buffer.format, self._buffer.take())
        self._out.send(server_events.item_added, item, previous)
        self._out.send(server_events.item_done, item, previous)
        return item_id
