"""The interface between a Realtime server and its model: `RealtimeServer` implements the protocol, a `Brain` answers.

Everything is synchronous. The server calls the brain. The brain reports the caller's turns through `TurnEvents`, and
answers through the `OpenResponse` that it gets, at once or later in `on_time`. Times are the server's monotonic ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from audio.formats import AudioFormat, AudioFrame
from sessions.ports import JsonObject


class OpenResponse(Protocol):
    """A response in progress, as the brain sees it. Once it has ended, for any reason, further calls do nothing."""

    @property
    def id(self) -> str:
        """`resp_...`."""
        ...

    @property
    def metadata(self) -> JsonObject | None:
        """The `metadata` of the client's request."""
        ...

    @property
    def text_only(self) -> bool:
        """Whether the answer is text without sound."""
        ...

    @property
    def output_format(self) -> AudioFormat:
        """The format of the sound that `say` takes."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the response has ended."""
        ...

    def say(self, text: str, pcm: bytes) -> None:
        """Emit a piece of the answer's text and of its sound; either may be empty. A text answer drops the sound.

        `pcm` is whole samples in `output_format`, of any length: it is sent in deltas of at most 200 ms.
        """
        ...

    def call_tool(self, name: str, arguments: str) -> str:
        """Call one of the session's functions (`arguments`: a JSON text) and return the call's id."""
        ...

    def finish(self, usage: JsonObject | None = None) -> None:
        """End the complete answer. `usage` has the shape that `response.done` has; None stands for no tokens."""
        ...

    def fail(self, code: str, message: str) -> None:
        """End the answer as failed, because of a fault of the server."""
        ...

    def incomplete(self, reason: str) -> None:
        """End the answer at a limit: `max_output_tokens` or `content_filter`."""
        ...


class TurnEvents(Protocol):
    """How a brain reports the caller's turns to its server. Positions are ms in all sound appended so far."""

    def speech_started(self, at_ms: int) -> str:
        """The caller began to speak. Interrupts a response if the session says so. Returns the future item's id."""
        ...

    def speech_stopped(self, at_ms: int) -> str:
        """The caller stopped: makes the turn's item, and requests an answer from the brain if the session says so.

        Must follow a `speech_started` that neither `Brain.committed` nor `Brain.cleared` has ended. Returns the item's
        id.
        """
        ...

    def transcribed_part(self, item_id: str, text: str) -> None:
        """A further piece of an item's transcript."""
        ...

    def transcribed(self, item_id: str, text: str) -> None:
        """The whole transcript of an item; may be reported before, during or after the answer to it."""
        ...

    def not_transcribed(self, item_id: str, code: str, message: str) -> None:
        """The transcription of an item failed."""
        ...


class Brain(Protocol):
    """A model without a wire protocol. Only its server calls it."""

    def configured(self, session: JsonObject) -> None:
        """Take over the effective session, at the start and after each update."""
        ...

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Take caller sound in the session's input format, in order; positions count from the session's start."""
        ...

    def committed(self, item_id: str, now_ms: int) -> None:
        """The client committed the sound since the last item as this item. Ends open speech."""
        ...

    def cleared(self) -> None:
        """The client cleared the sound since the last item. Ends open speech."""
        ...

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """The client added an item: text, an image, sound, a function's output, or history."""
        ...

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """The client truncated an item: the caller heard only its first `audio_end_ms`."""
        ...

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Begin an answer. `request` is the client's `response` object (empty where the session answers by itself).

        Out-of-band answers (`request["conversation"] == "none"`) may run in parallel with each other and with the
        answer that belongs to the conversation.
        """
        ...

    def stopped(self, response_id: str) -> None:
        """That response was cancelled or interrupted."""
        ...

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next."""
        ...

    def on_time(self, now_ms: int) -> None:
        """Do what is due at this time. An early call is harmless."""
        ...

    def close(self) -> None:
        """The session has ended."""
        ...


BrainFactory: TypeAlias = Callable[[TurnEvents], Brain]
