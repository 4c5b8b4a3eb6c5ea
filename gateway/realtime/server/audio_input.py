"""The input side of a Realtime server: the input audio buffer, and the caller's items that are made of it."""

from __future__ import annotations

from collections.abc import Callable

from audio.formats import AudioFormat, AudioFrame
from gateway.realtime import items, server_events
from gateway.realtime.server.conversation import Conversation
from gateway.realtime.server.event_sender import EventSender
from gateway.realtime.server.input_buffer import InputBuffer
from sessions.errors import WireError

MIN_COMMIT_MS = 100
MAX_TIMED_ITEMS = 64  # items whose duration is remembered until their transcription


def _ignore() -> None:
    """Replaces the callbacks after the end of the session."""


class AudioInput:
    """Makes events and items of the turns that the brain finds or the client commits; this is the brain's `TurnEvents`.

    `on_speech` is called when the caller begins to speak, `on_turn` when voice detection has ended a turn.
    """

    def __init__(
        self,
        out: EventSender,
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
        self._speaking: str | None = None  # the id of the item that the open speech will become
        self._early: dict[str, str] = {}  # transcripts of items that do not exist yet
        self._seconds: dict[str, float] = {}  # durations of items, for their transcription's usage
        self.client_commits = False  # whether turns end only by the client's commit
        self.transcribes = False

    def close(self) -> None:
        """The session has ended: drop the sound and the callbacks."""
        self._buffer.clear()
        self._on_speech = self._on_turn = _ignore

    @property
    def format(self) -> AudioFormat:
        """The format of appended sound."""
        return self._buffer.format

    def configure(self, format: AudioFormat, *, client_commits: bool, transcribes: bool) -> None:
        """Take over the session's input settings."""
        self._buffer.set_format(format)
        self.client_commits = client_commits
        self.transcribes = transcribes

    def append(self, payload: bytes) -> AudioFrame:
        """Append sound to the buffer; returns it as a frame with its position."""
        return self._buffer.append(payload, idle=self._speaking is None and not self.client_commits)

    def commit(self) -> str:
        """Make an item of the buffered sound for the client; returns its id. Raises WireError for too little sound."""
        pending_ms = self._buffer.pending_ms
        if pending_ms < MIN_COMMIT_MS:
            raise WireError(
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {pending_ms:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        return self._make_item()

    def clear(self) -> None:
        """Drop the buffered sound, and with it open speech."""
        self._speaking = None
        self._buffer.clear()
        self._out.send(server_events.cleared)

    # ---- TurnEvents

    def speech_started(self, at_ms: int) -> str:
        """The caller began to speak."""
        item_id = self._speaking = self._out.new_id("item")
        self._out.send(server_events.speech_started, item_id, at_ms)
        self._on_speech()
        return item_id

    def speech_stopped(self, at_ms: int) -> str:
        """The caller stopped speaking."""
        assert self._speaking is not None, "no speech is open"
        self._out.send(server_events.speech_stopped, self._speaking, at_ms)
        item_id = self._make_item()
        self._on_turn()
        return item_id

    def transcribed_part(self, item_id: str, text: str) -> None:
        """A further piece of an item's transcript."""
        if self.transcribes:
            self._out.send(server_events.transcription_delta, item_id, text)

    def transcribed(self, item_id: str, text: str) -> None:
        """The whole transcript of an item."""
        if not self.transcribes:
            return
        if item_id == self._speaking:
            self._early[item_id] = text
        self._conversation.set_transcript(item_id, text)
        seconds = self._seconds.pop(item_id, self._buffer.pending_ms / 1000)
        self._out.send(server_events.transcription_completed, item_id, text, seconds)

    def not_transcribed(self, item_id: str, code: str, message: str) -> None:
        """The transcription of an item failed."""
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
