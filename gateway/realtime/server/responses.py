"""The responses of a Realtime server: each one's events in the protocol's order, and which may run at the same time.

Source: OpenAI Realtime API reference, response lifecycle; the order that public clients rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audio.formats import AudioFormat
from gateway.realtime import fields, response_events
from gateway.realtime.server.conversation import Conversation
from gateway.realtime.server.event_sender import EventSender
from gateway.realtime.server.response_output import OpenMessage, Output
from gateway.realtime.session import DEFAULT_VOICE, EffectiveSession
from gateway.realtime.wire_formats import read_format
from sessions.errors import WireError
from sessions.ports import Json, JsonObject
from sessions.usage import TokenUsage

MAX_OUT_OF_BAND = 16
NO_USAGE = response_events.usage_object(TokenUsage())


@dataclass(frozen=True, slots=True)
class ResponseSettings:
    """The settings of one response: the session's, overridden by the request's."""

    out_of_band: bool
    text_only: bool
    format: AudioFormat
    voice: Json
    max_output_tokens: Json
    metadata: JsonObject | None

    @classmethod
    def of(cls, session: EffectiveSession, request: JsonObject) -> ResponseSettings:
        """`request` is the result of `owners.filtered_response`."""
        audio = fields.json_object(request.get("audio") or {}, "response.audio")
        output = fields.json_object(audio.get("output") or {}, "response.audio.output")
        modes, metadata = request.get("output_modalities"), request.get("metadata")
        return cls(
            out_of_band=request.get("conversation") == "none",
            text_only=session.text_only if modes is None else modes == ["text"],
            format=read_format(output["format"], "response.audio.output.format")
            if output.get("format") is not None
            else session.output_format,
            voice=output.get("voice") or session.voice or DEFAULT_VOICE,
            max_output_tokens=request.get("max_output_tokens") or session.max_output_tokens,
            metadata=None if metadata is None else fields.json_object(metadata, "response.metadata"),
        )


class LiveResponse:
    """One response, from `response.created` to `response.done`; the brain's `OpenResponse`."""

    def __init__(
        self,
        response_id: str,
        settings: ResponseSettings,
        out: EventSender,
        conversation: Conversation,
        on_end: Callable[[LiveResponse], None],
    ) -> None:
        self.id = response_id
        self.settings = settings
        self.ended = False
        self.spoke = False
        self._out = out
        self._conversation_id = None if settings.out_of_band else conversation.id
        self._output = Output(response_id, out, None if settings.out_of_band else conversation)
        self._message: OpenMessage | None = None
        self._on_end = on_end

    @property
    def metadata(self) -> JsonObject | None:
        """The `metadata` of the client's request."""
        return self.settings.metadata

    @property
    def text_only(self) -> bool:
        """Whether the answer is text without sound."""
        return self.settings.text_only

    @property
    def output_format(self) -> AudioFormat:
        """The format of the sound that `say` takes."""
        return self.settings.format

    def begin(self) -> None:
        """Send `response.created`."""
        self._out.send(response_events.response_created, self._object("in_progress"))

    def say(self, text: str, pcm: bytes) -> None:
        """Emit a piece of the answer's text and of its sound."""
        assert len(pcm) % self.output_format.sample_bytes == 0, "half a sample"
        if self.ended or not (text or (pcm and not self.text_only)):
            return
        if self._message is None:
            self._message = OpenMessage(self._out, self._output, None if self.text_only else self.output_format)
            self._message.begin()
        if pcm and not self.text_only:
            self.spoke = True
        self._message.say(text, pcm)

    def call_tool(self, name: str, arguments: str) -> str:
        """Call a function; an open message is closed first."""
        if self.ended:
            return self._out.new_id("call")
        self._close_message("completed")
        return self._output.call(name, arguments)

    def finish(self, usage: JsonObject | None = None) -> None:
        """End the complete answer."""
        self._end("completed", None, usage)

    def fail(self, code: str, message: str) -> None:
        """End the answer as failed, because of a fault of the server."""
        self._end("failed", response_events.status_details("failed", error=response_events.failure(code, message)))

    def incomplete(self, reason: str) -> None:
        """End the answer at a limit."""
        self._end("incomplete", response_events.status_details("incomplete", reason))

    def stop(self, reason: str) -> None:
        """Cancel the response. `reason`: `client_cancelled` or `turn_detected`."""
        self._end("cancelled", response_events.status_details("cancelled", reason))

    def _end(self, status: str, details: JsonObject | None, usage: JsonObject | None = None) -> None:
        if self.ended:
            return
        self._close_message("completed" if status == "completed" else "incomplete")
        self.ended = True
        self._on_end(self)
        self._out.send(response_events.response_done, self._object(status, details, usage or NO_USAGE))

    def _object(self, status: str, details: JsonObject | None = None, usage: JsonObject | None = None) -> JsonObject:
        return response_events.response_object(
            self.id,
            status=status,
            conversation_id=self._conversation_id,
            text_only=self.text_only,
            format=self.output_format,
            voice=self.settings.voice,
            max_output_tokens=self.settings.max_output_tokens,
            metadata=self.metadata,
            output=self._output.done,
            details=details,
            usage=usage,
        )

    def _close_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            message.close(status)


class Responses:
    """The responses in progress: at most one that belongs to the conversation, and some out of band."""

    def __init__(self, out: EventSender, conversation: Conversation) -> None:
        self._out = out
        self._conversation = conversation
        self._current: LiveResponse | None = None
        self._out_of_band: dict[str, LiveResponse] = {}
        self._spoke = False

    @property
    def current(self) -> LiveResponse | None:
        """The response that belongs to the conversation; None where there is none."""
        return self._current

    @property
    def agent_spoke(self) -> bool:
        """Whether any response of this session has sent sound."""
        running = [self._current, *self._out_of_band.values()]
        return self._spoke or any(response is not None and response.spoke for response in running)

    def start(self, settings: ResponseSettings) -> LiveResponse:
        """Open a response and send `response.created`.

        Raises WireError while another response of the conversation is in progress, or too many out of band.
        """
        if settings.out_of_band:
            if len(self._out_of_band) >= MAX_OUT_OF_BAND:
                raise WireError(f"More than {MAX_OUT_OF_BAND} responses are in progress.", code="rate_limit_exceeded")
        elif self._current is not None:
            raise WireError(
                f"Conversation already has an active response in progress: {self._current.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        response = LiveResponse(self._out.new_id("resp"), settings, self._out, self._conversation, self._ended)
        if settings.out_of_band:
            self._out_of_band[response.id] = response
        else:
            self._current = response
        response.begin()
        return response

    def stop(self, response_id: str | None, reason: str) -> str:
        """Cancel the response named, or the conversation's, and return its id. Raises WireError where there is none."""
        if response_id is None or (self._current is not None and self._current.id == response_id):
            found = self._current
        else:
            found = self._out_of_band.get(response_id)
        if found is None:
            raise WireError("Cancellation failed: no active response found", code="response_cancel_not_active")
        found.stop(reason)
        return found.id

    def _ended(self, response: LiveResponse) -> None:
        self._spoke = self._spoke or response.spoke
        if response is self._current:
            self._current = None
        else:
            del self._out_of_band[response.id]
