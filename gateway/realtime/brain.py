"""The line between a Realtime server and what thinks in it: `RealtimeServer` keeps the protocol, a `Brain` answers.

Everything is synchronous. The server calls the brain, the brain reports what it hears through its `Ear`, and answers
through the `OpenResponse` that it was given, at once or later, in `on_time`. Times are the server's monotonic ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from audio.formats import AudioFormat, AudioFrame
from sessions.ports import JsonObject


class OpenResponse(Protocol):
    """An answer under way. Once it has ended, however, further calls do nothing."""

    @property
    def id(self) -> str:
        """`resp_...`."""
        ...

    @property
    def metadata(self) -> JsonObject | None:
        """What the client wrote into its request."""
        ...

    @property
    def text_only(self) -> bool:
        """Whether the answer is written and not spoken."""
        ...

    @property
    def output_format(self) -> AudioFormat:
        """The format that `say` takes sound in."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        ...

    def say(self, text: str, pcm: bytes) -> None:
        """A piece of what is said and of its sound, either possibly empty; a written answer drops the sound.

        `pcm` is whole samples in `output_format`, of any length: it leaves in deltas of at most 200 ms.
        """
        ...

    def call_tool(self, name: str, arguments: str) -> str:
        """Call one of the session's functions (`arguments`: a JSON text) and return the call's id."""
        ...

    def finish(self, usage: JsonObject | None = None) -> None:
        """The answer is complete. `usage` as `response.done` has it; None counts nothing."""
        ...

    def fail(self, code: str, message: str) -> None:
        """The answer broke off, by our fault."""
        ...

    def incomplete(self, reason: str) -> None:
        """The answer was cut at a limit: `max_output_tokens` or `content_filter`."""
        ...


class Ear(Protocol):
    """What a brain tells its server about the caller's sound. Positions are ms of all sound appended so far."""

    def speech_started(self, at_ms: int) -> str:
        """The caller speaks. Stops the answer that speaks, where the session says so. Returns the coming item's id."""
        ...

    def speech_stopped(self, at_ms: int) -> str:
        """The caller has stopped: their item is made, and an answer asked of the brain, where the session says so.

        Only for a `speech_started` that neither `Brain.committed` nor `Brain.cleared` has ended. Returns the item's id.
        """
        ...

    def transcribed_part(self, item_id: str, text: str) -> None:
        """A further piece of what the caller said."""
        ...

    def transcribed(self, item_id: str, text: str) -> None:
        """All that the caller said in this item; may come before, during or after the answer to it."""
        ...

    def not_transcribed(self, item_id: str, code: str, message: str) -> None:
        """What the caller said could not be made out."""
        ...


class Brain(Protocol):
    """A model without a protocol. Called by its server only."""

    def configured(self, session: JsonObject) -> None:
        """The effective session, at the opening and after each update."""
        ...

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Caller sound in the session's input format, in order; positions count from the session's start."""
        ...

    def committed(self, item_id: str, now_ms: int) -> None:
        """The client ended the caller's turn by hand: the sound since the last item is this one. Ends open speech."""
        ...

    def cleared(self) -> None:
        """The client took back the sound since the last item. Ends open speech."""
        ...

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """The client added an item: typed text, an image, sound, a function's output, or history."""
        ...

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """The caller heard only so much of this item."""
        ...

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Begin an answer. `request` is the client's `response` (empty where the session answers by itself).

        Out-of-band answers (`request["conversation"] == "none"`) may run beside one another and beside the spoken one.
        """
        ...

    def stopped(self, response_id: str) -> None:
        """That answer was cancelled or interrupted."""
        ...

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` is to be called next."""
        ...

    def on_time(self, now_ms: int) -> None:
        """It is that late. An early call is harmless."""
        ...

    def close(self) -> None:
        """The session is over."""
        ...


BrainFactory: TypeAlias = Callable[[Ear], Brain]
