"""The answers of a Realtime server: each one's events in the protocol's order, and which may run beside which.

Source: OpenAI Realtime API reference, response lifecycle; the order that public clients rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audio.formats import AudioFormat
from gateway.realtime import fields, response_events
from gateway.realtime.conversation import Conversation
from gateway.realtime.outlet import Outlet
from gateway.realtime.response_output import OpenMessage, Output
from gateway.realtime.session import DEFAULT_VOICE, EffectiveSession
from gateway.realtime.wire_formats import read_format
from sessions.errors import WireError
from sessions.ports import Json, JsonObject
from sessions.usage import TokenUsage

MAX_OUT_OF_BAND = 16
NO_USAGE = response_events.usage_object(TokenUsage())


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one answer: the session's settings, and the request's own over them."""

    out_of_band: bool
    text_only: bool
    format: AudioFormat
    voice: Json
    max_output_tokens: Json
    metadata: JsonObject | None

    @classmethod
    def of(cls, session: EffectiveSession, request: JsonObject) -> Terms:
        """`request` as `owners.filtered_response` leaves it."""
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
    """One answer, from `response.created` to its `response.done`; what a brain knows as `OpenResponse`."""

    def __init__(
        self,
        response_id: str,
        terms: Terms,
        out: Outlet,
        conversation: Conversation,
        on_end: Callable[[LiveResponse], None],
    ) -> None:
        self.id = response_id
        self.terms = terms
        self.ended = False
        self.spoke = False
        self._out = out
        self._conversation_id = None if terms.out_of_band else conversation.id
        self._output = Output(response_id, out, None if terms.out_of_band else conversation)
        self._message: OpenMessage | None = None
        self._on_end = on_end

    @property
    def metadata(self) -> JsonObject | None:
        """What the client wrote into its request."""
        return self.terms.metadata

    @property
    def text_only(self) -> bool:
        """Whether the answer is written and not spoken."""
        return self.terms.text_only

    @property
    def output_format(self) -> AudioFormat:
        """The format that `say` takes sound in."""
        return self.terms.format

    def begin(self) -> None:
        """Tell the client."""
        self._out.send(response_events.response_created, self._object("in_progress"))

    def say(self, text: str, pcm: bytes) -> None:
        """A piece of what is said and of its sound."""
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
        """Call a function; the message spoken so far is closed first."""
        if self.ended:
            return self._out.new_id("call")
        self._close_message("completed")
        return self._output.call(name, arguments)

    def finish(self, usage: JsonObject | None = None) -> None:
        """The answer is complete."""
        self._end("completed", None, usage)

    def fail(self, code: str, message: str) -> None:
        """The answer broke off, by our fault."""
        self._end("failed", response_events.status_details("failed", error=response_events.failure(code, message)))

    def incomplete(self, reason: str) -> None:
        """The answer was cut at a limit."""
        self._end("incomplete", response_events.status_details("incomplete", reason))

    def stop(self, reason: str) -> None:
        """Cancel it: `client_cancelled` or `turn_detected`."""
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
            voice=self.terms.voice,
            max_output_tokens=self.terms.max_output_tokens,
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
    """Knows which answers run: one that speaks into the conversation, and some out of band."""

    def __init__(self, out: Outlet, conversation: Conversation) -> None:
        self._out = out
        self._conversation = conversation
        self._speaking: LiveResponse | None = None
        self._beside: dict[str, LiveResponse] = {}
        self._spoke = False

    @property
    def speaking(self) -> LiveResponse | None:
        """The answer that writes to the conversation."""
        return self._speaking

    @property
    def agent_spoke(self) -> bool:
        """Whether any answer of this session has sounded yet."""
        running = [self._speaking, *self._beside.values()]
        return self._spoke or any(response is not None and response.spoke for response in running)

    def start(self, terms: Terms) -> LiveResponse:
        """Open an answer and tell the client. Raises WireError while another one speaks, or too many run."""
        if terms.out_of_band:
            if len(self._beside) >= MAX_OUT_OF_BAND:
                raise WireError(f"More than {MAX_OUT_OF_BAND} responses are in progress.", code="rate_limit_exceeded")
        elif self._speaking is not None:
            raise WireError(
                f"Conversation already has an active response in progress: {self._speaking.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        response = LiveResponse(self._out.new_id("resp"), terms, self._out, self._conversation, self._ended)
        if terms.out_of_band:
            self._beside[response.id] = response
        else:
            self._speaking = response
        response.begin()
        return response

    def stop(self, response_id: str | None, reason: str) -> str:
        """Cancel the answer named, or the one that speaks, and return its id. Raises WireError when there is none."""
        if response_id is None or (self._speaking is not None and self._speaking.id == response_id):
            found = self._speaking
        else:
            found = self._beside.get(response_id)
        if found is None:
            raise WireError("Cancellation failed: no active response found", code="response_cancel_not_active")
        found.stop(reason)
        return found.id

    def _ended(self, response: LiveResponse) -> None:
        self._spoke = self._spoke or response.spoke
        if response is self._speaking:
            self._speaking = None
        else:
            del self._beside[response.id]
