"""The Realtime protocol from the client's side: a model's messages into events, the call's commands into messages.

Source: OpenAI Realtime API reference (GA).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import assert_never

import orjson
import pybase64

from audio.runs import FrameRun
from gateway.models.realtime_calls import CallNames, UsedNames
from gateway.models.realtime_endings import ending
from gateway.models.realtime_mending import MENDED, mended
from gateway.models.realtime_reading import BETA_NAMES, MAX_WHOLE, read_server_event, text_of
from gateway.models.realtime_settings import ModelSettings
from gateway.models.realtime_speech import ModelSpeech, named_format
from gateway.models.realtime_writing import OWN_PREFIX, Writer
from gateway.models.sound_positions import SoundPositions
from gateway.realtime import fields
from gateway.realtime.reading import check_depth, check_size, has_halves, read_halves, read_object
from gateway.realtime.scan import DELTA_TYPE, PLAIN_APPEND
from sessions.commands import (
    AddToolOutput,
    CancelResponse,
    Configure,
    ModelCommand,
    PassToModel,
    RequestResponse,
    Seed,
    SendAudio,
    TruncateItem,
)
from sessions.errors import WireError
from sessions.events import (
    AgentText,
    CallerTranscribed,
    ItemStarted,
    ModelEvent,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
    ToolWanted,
    Wire,
)
from sessions.past import PastToolCall
from sessions.ports import Ids, Json, JsonObject
from sessions.remembering import remember
from sessions.text import Halves

log = logging.getLogger(__name__)

DIALECT = "realtime"
LARGE_BYTES = 64 * 1024  # a message that is shorter cannot have so many parts that reading it takes long
APPEND_TYPE = b'"input_audio_buffer.append"'
PIECES = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "conversation.item.input_audio_transcription.delta",
    }
)
POSITIONS = {
    "input_audio_buffer.speech_started": ("audio_start_ms",),
    "input_audio_buffer.speech_stopped": ("audio_end_ms",),
    "input_audio_buffer.timeout_triggered": ("audio_start_ms", "audio_end_ms"),
}


class RealtimeModelCodec:
    """Reads and writes for one leg. `settings` and `speech` are its own talk about the session, and its sound."""

    __slots__ = (
        "_beside",
        "_called",
        "_calls",
        "_halves",
        "_hears",
        "_ids",
        "_positions",
        "_spoke",
        "_told",
        "_unnamed",
        "_worded",
        "_write",
        "settings",
        "speech",
    )

    def __init__(
        self,
        ids: Ids,
        *,
        speaks_given_text: bool,
        voids: frozenset[str] = frozenset(),
        semantic_vad: bool = True,
        used: UsedNames | None = None,
    ) -> None:
        """`voids`: session fields that this service does not take. `semantic_vad` False: nor that turn detection.

        `used`: what is shared with the other legs of the same call.
        """
        self._write = Writer(ids, speaks_given_text=speaks_given_text)
        self._ids = ids
        self._calls = CallNames(ids, used or UsedNames())
        self._positions = SoundPositions()
        self.settings = ModelSettings(self._write, voids=voids, semantic_vad=semantic_vad)
        self.speech = ModelSpeech()
        self._halves = Halves()
        self._worded: dict[str, bool] = {}  # items that have had words in pieces
        self._called: dict[str, bool] = {}  # function calls that were told to the call
        self._told: set[str] = set()  # items of the past: the client knows them
        self._beside: set[str] = set()  # requests for responses beside the conversation
        self._spoke = False  # the response begun last has brought something
        self._unnamed = False  # a response began without an id, and has not ended
        self._hears: str | None = None  # the caller's item that is being spoken

    # ---- messages in

    def decode(self, text: bytes) -> ModelEvent | None:
        """What one message means; None for what is not the call's business. Raises WireError."""
        if DELTA_TYPE in text:
            sound = self.speech.read(text)
            if sound is not None:
                return sound
        if len(text) > LARGE_BYTES:
            check_size(text)
        came, parsed = text, read_object(text)
        check_depth(parsed, text)
        kind = text_of(parsed, "type")
        if kind in BETA_NAMES:
            kind = BETA_NAMES[kind]
            parsed = {**parsed, "type": kind}
            text = orjson.dumps(parsed)
        if b'"call_id"' in text:
            named = self._calls.read(kind, parsed)
            if named is not parsed:
                parsed, text = named, orjson.dumps(named)
        said = parsed
        if kind in MENDED:
            whole = mended(kind, parsed, self._running(kind), spoke=self._spoke)
            if whole is not parsed:
                parsed, text = whole, orjson.dumps(whole)
        elif kind == "response.created" and not isinstance(fields.inside(parsed, "response", "id"), str):
            self._unnamed = True
        if kind == "response.output_audio.delta":
            ids = text_of(parsed, "response_id"), text_of(parsed, "item_id")
            return self.speech.parsed(*ids, text_of(parsed, "delta"), text)
        if kind == "session.created":
            return None  # the client has had the gateway's own
        if kind == "session.updated":
            return self._session_updated(parsed)
        if kind in POSITIONS:
            parsed, text = self._on_call(kind, parsed, text)
        # Of an error the call keeps what the model has said, and the client gets the whole shape.
        event = read_server_event(said if kind == "error" else parsed, Wire(DIALECT, text, parsed))
        if isinstance(event, AgentText | CallerTranscribed) and kind in PIECES and (self._halves or has_halves(came)):
            event = self._joined(event, came)
        return self._noted(kind, event)

    def _running(self, kind: str) -> str | None:
        """The response that an ending without an id ends; one that began without an id gets a name for it."""
        unnamed, self._unnamed = self._unnamed, self._unnamed and kind != "response.done"
        running = self._calls.running
        return self._ids.new("resp") if running is None and unnamed and kind == "response.done" else running

    def _session_updated(self, parsed: JsonObject) -> ModelReady | None:
        self.speech.format = named_format(parsed.get("session")) or self.settings.asked_format
        return ModelReady() if self.settings.agreed() else None

    def _on_call(self, kind: str, parsed: JsonObject, text: bytes) -> tuple[JsonObject, bytes]:
        """The message with the caller's own positions: the client counts all it has sent, the model what it had.

        A position that cannot be read is where the sound is now: that the caller speaks, or has stopped, counts.
        """
        moved: dict[str, Json] = {}
        for key in POSITIONS[kind]:
            model_ms = parsed.get(key)
            if type(model_ms) is int and 0 <= model_ms <= MAX_WHOLE:
                call_ms = self._positions.on_call(model_ms)
            else:
                call_ms = self._positions.on_call(self._positions.had_ms)
            if type(model_ms) is not int or call_ms != model_ms:
                moved[key] = call_ms
        item_id = parsed.get("item_id")
        if isinstance(item_id, str):
            self._hears = item_id
        elif kind == "input_audio_buffer.speech_stopped" and self._hears is not None:
            moved["item_id"] = self._hears
        if not moved:
            return parsed, text
        parsed = {**parsed, **moved}
        return parsed, orjson.dumps(parsed)

    def _joined(self, event: AgentText | CallerTranscribed, came: bytes) -> AgentText | CallerTranscribed:
        """A piece of words with whole characters: it may begin or end with half of one that was cut in two."""
        try:
            piece = read_halves(came)["delta"] if has_halves(came) else event.text
        except ValueError as error:
            raise WireError(f"the model's words cannot be read: {error}", param="delta") from error
        return replace(event, text=self._halves.joined(event.item_id, piece))

    def _noted(self, kind: str, event: ModelEvent | None) -> ModelEvent | None:
        """The event as it is with all that was read before."""
        if type(event) is AgentText:  # most of what is not sound
            if event.item_id not in self._worded:
                remember(self._worded, event.item_id, True)
                self._spoke = True
        elif isinstance(event, ItemStarted):
            self._spoke = True
            self._calls.running = self._calls.running or event.response_id  # where no beginning told it
        elif isinstance(event, ResponseStarted):
            return self._response_started(event)
        elif isinstance(event, ToolWanted):
            if event.call_id in self._called:
                assert event.wire is not None
                return ModelPassed(event.wire)
            remember(self._called, event.call_id, True)
            self._spoke = True
        elif isinstance(event, ResponseEnded):
            self._calls.running = None
        elif isinstance(event, ModelRefused):
            return self._refusal(event) if kind == "error" else event
        elif kind in ("conversation.item.added", "conversation.item.done"):
            return self._of_conversation(kind, event)
        elif kind in ("response.output_audio_transcript.done", "response.output_text.done"):
            return self._whole_words(kind, event)
        return event

    def _response_started(self, event: ResponseStarted) -> ResponseStarted:
        self._calls.running = event.response_id
        self._spoke = False
        response = event.wire.parsed.get("response") if event.wire is not None else None
        self.speech.response(event.response_id, response)
        if event.out_of_band and not self._beside:
            # Nobody asked for one: a service that names no conversation at all.
            return replace(event, out_of_band=False)
        if event.out_of_band:
            self._beside.pop()
        return event

    def _of_conversation(self, kind: str, event: ModelEvent | None) -> ModelEvent | None:
        wire = getattr(event, "wire", None)
        item = wire.parsed.get("item") if isinstance(wire, Wire) else None
        item_id = item.get("id") if isinstance(item, dict) else None
        if not isinstance(item_id, str) or item_id not in self._told:
            return event
        if kind == "conversation.item.done":
            self._told.discard(item_id)
        return None

    def _whole_words(self, kind: str, event: ModelEvent | None) -> ModelEvent | None:
        """Some services give an item's words in one piece only."""
        if not isinstance(event, ModelPassed):
            return event
        spoken = kind == "response.output_audio_transcript.done"
        parsed = event.wire.parsed
        item_id, words = text_of(parsed, "item_id"), text_of(parsed, "transcript" if spoken else "text")
        if item_id in self._worded:
            words = self._halves.rest(item_id)
        if not words:
            return event
        return AgentText(text_of(parsed, "response_id"), item_id, words, spoken, event.wire, whole=True)

    def _refusal(self, event: ModelRefused) -> ModelEvent | None:
        self._beside.discard(event.event_id or "")
        lost = ending(event)
        if lost is not None:
            return lost
        refused = self.settings.asked(event)
        if refused is None:
            return event
        given_up = self.settings.without_refused(refused)
        if given_up == "field":
            return None  # so it is with some services, and all is as it should be
        if given_up == "tool" or self.settings.ready:
            return refused
        return ModelLost(f"the model refused the session: {event.code}", False, event.problem)

    # ---- commands out

    def encode(self, command: ModelCommand) -> tuple[bytes, ...]:
        """The messages that carry a command out, in order."""
        match command:
            case SendAudio():
                return (self.sound(command),)
            case PassToModel():
                return (self._calls.write(command.wire).text,) if command.wire.dialect == DIALECT else ()
            case Configure():
                return (self._configure(command),)
            case RequestResponse():
                if command.request.out_of_band:
                    self._beside.add(command.request.request_id)
                return (self._write.response_create(command.request),)
            case CancelResponse():
                return (self._write.cancel(command),)
            case TruncateItem():
                return (self._write.truncate(command),)
            case AddToolOutput():
                return (self._tool_output(command),)
            case Seed():
                return self._seed(command)
            case _:
                assert_never(command)

    def sound(self, command: SendAudio) -> bytes:
        """Caller's sound: the message that it came in where the model understands it, else a new one."""
        self._positions.sent(command.frame)
        wire = command.wire
        if wire is not None and (
            wire.startswith(PLAIN_APPEND) or APPEND_TYPE in wire[:128] or APPEND_TYPE in wire[-128:]
        ):
            return wire
        encoded: bytes = pybase64.b64encode(command.frame.payload)
        return PLAIN_APPEND + encoded + b'"}'

    def went(self, run: FrameRun) -> None:
        """Caller's sound went to the model past this codec."""
        self._positions.went(run)

    def _configure(self, command: Configure) -> bytes:
        if not self.settings.ready:
            self.speech.format = command.setup.output_format
        return self.settings.ask(command)

    def _tool_output(self, command: AddToolOutput) -> bytes:
        message, item_id = self._write.tool_output(self._calls.models(command.call_id), command.output)
        self._calls.sent(item_id, command.call_id)
        return message

    def _seed(self, command: Seed) -> tuple[bytes, ...]:
        messages: list[bytes] = []
        for entry in command.past:
            if isinstance(entry, PastToolCall):
                written, item_ids = self._write.past(self._calls.told(entry))
                for item_id in item_ids:
                    self._calls.sent(item_id, entry.call_id)
            else:
                written, item_ids = self._write.past(entry)
            messages.extend(written)
            item_id = item_ids[0]
            ours = item_id.startswith(OWN_PREFIX)  # hidden from the client anyway
            if not ours and item_id not in command.unseen:
                self._told.add(item_id)
        return tuple(messages)
