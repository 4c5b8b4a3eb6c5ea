"""The Realtime protocol from the client's side: a model's messages into events, the call's commands into messages.

Wire audio: base64 in JSON; PCM16 24 kHz, or G.711 at 8 kHz, mono, as the session says. Source: OpenAI Realtime API
reference (GA).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

import orjson
import pybase64

from audio.formats import PCM16_24K, AudioFormat
from audio.runs import FrameRun, SoundStream
from gateway.lane import SoundSource
from gateway.models.realtime_reading import BETA_NAMES, read_server_event, text_of, whole_of
from gateway.models.realtime_writing import OWN_PREFIX, Writer, holds, with_server_vad, without
from gateway.models.sound_positions import SoundPositions
from gateway.realtime.client_events import check_depth
from gateway.realtime.scan import PLAIN_APPEND, Delta, SoundPattern, decode_audio, scan_delta
from gateway.realtime.wire_formats import FORMATS
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
    AgentAudio,
    AgentText,
    ModelEvent,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    ResponseStarted,
    ToolWanted,
    Wire,
)
from sessions.ports import Ids, Json, JsonObject

log = logging.getLogger(__name__)

DIALECT = "realtime"
APPEND_TYPE = b'"input_audio_buffer.append"'
MAX_KNOWN = 128  # items, responses and calls that are remembered; the oldest are forgotten
MAX_SETUP_RETRIES = 8
# Errors after which the service closes the session, and whether another one may fare better.
ENDINGS = {
    "session_expired": True,
    "invalid_api_key": False,
    "account_deactivated": False,
    "insufficient_quota": False,
    "credit_balance_exhausted": False,
    "billing_hard_limit_reached": False,
    "model_not_found": False,
    "beta_api_shape_disabled": False,
}
POSITIONS = {
    "input_audio_buffer.speech_started": ("audio_start_ms",),
    "input_audio_buffer.speech_stopped": ("audio_end_ms",),
    "input_audio_buffer.timeout_triggered": ("audio_start_ms", "audio_end_ms"),
}
Known = TypeVar("Known")


@dataclass(slots=True)
class _Track:
    """The sound of one item."""

    stream: SoundStream
    half: bytes = b""  # of a sample that the next message completes


@dataclass(frozen=True, slots=True)
class _Sounding:
    """Whose sound the newest message with sound carried, and how such messages look."""

    response_id: str
    item_id: str
    pattern: SoundPattern


class RealtimeModelCodec:
    """Reads and writes for one leg, and remembers what of the talk the reading needs."""

    __slots__ = (
        "_asked_format",
        "_beside",
        "_called",
        "_format",
        "_formats",
        "_positions",
        "_ready",
        "_refused",
        "_semantic_vad",
        "_session",
        "_setup_id",
        "_sounding",
        "_told",
        "_tracks",
        "_voids",
        "_worded",
        "_write",
        "retry",
    )

    def __init__(
        self, ids: Ids, *, speaks_given_text: bool, voids: frozenset[str] = frozenset(), semantic_vad: bool = True
    ) -> None:
        """`voids`: session fields that this service does not take. `semantic_vad` False: nor that turn detection."""
        self._write = Writer(ids, speaks_given_text=speaks_given_text)
        self._positions = SoundPositions()
        self._voids = voids
        self._semantic_vad = semantic_vad
        self._ready = False
        self._setup_id: str | None = None  # the event that sets the session up, until it is answered
        self._session: JsonObject = {}
        self._refused: list[list[str]] = []  # paths in the session that the service turned out not to take
        self._format = PCM16_24K  # of responses that do not name one
        self._asked_format = PCM16_24K
        self._formats: dict[str, AudioFormat] = {}  # by response
        self._tracks: dict[str, _Track] = {}  # by item
        self._sounding: _Sounding | None = None
        self._worded: dict[str, bool] = {}  # items that have had words in pieces
        self._called: dict[str, bool] = {}  # function calls that were told to the call
        self._told: set[str] = set()  # items of the past: the client knows them
        self._beside: set[str] = set()  # requests for responses beside the conversation
        self.retry: bytes | None = None  # a message to send now: the set-up, less a field that was refused

    # ---- messages in

    def decode(self, text: bytes) -> ModelEvent | None:
        """What one message means; None for what is not the call's business. Raises WireError."""
        sounding = self._sounding
        if sounding is not None:
            payload = sounding.pattern.payload(text)
            if payload is not None:
                return self._sounded(sounding.response_id, sounding.item_id, payload, text)
        delta = scan_delta(text)
        if delta is not None:
            self._sounding = _sounding(text, delta)
            return self._speech(delta.response_id, delta.item_id, delta.audio, text)
        parsed = _read_object(text)
        kind = text_of(parsed, "type")
        if kind in BETA_NAMES:
            kind = BETA_NAMES[kind]
            parsed = {**parsed, "type": kind}
            text = orjson.dumps(parsed)
        if kind == "response.output_audio.delta":
            return self._speech(
                text_of(parsed, "response_id"), text_of(parsed, "item_id"), text_of(parsed, "delta"), text
            )
        if kind == "session.created":
            return None  # the client has had the gateway's own
        if kind == "session.updated":
            return self._session_updated(parsed)
        if kind in POSITIONS:
            parsed, text = self._on_call(parsed, POSITIONS[kind], text)
        return self._noted(kind, read_server_event(parsed, Wire(DIALECT, text, parsed)))

    def _speech(self, response_id: str, item_id: str, audio: bytes | str, text: bytes) -> AgentAudio:
        return self._sounded(response_id, item_id, decode_audio(audio, param="delta"), text)

    def _sounded(self, response_id: str, item_id: str, payload: bytes, text: bytes) -> AgentAudio:
        track = self._tracks.get(item_id)
        if track is None:
            track = _Track(SoundStream(self._formats.get(response_id, self._format)))
            _remember(self._tracks, item_id, track)
        sample_bytes = track.stream.format.sample_bytes
        if track.half or len(payload) % sample_bytes:
            payload = track.half + payload
            whole = len(payload) - len(payload) % sample_bytes
            payload, track.half = payload[:whole], payload[whole:]
        return AgentAudio(response_id, item_id, track.stream.frame(payload), text)

    def source(self, response_id: str, item_id: str) -> SoundSource | None:
        """The speech of an item, as its next message will bring it; None where that cannot be foretold."""
        sounding, track = self._sounding, self._tracks.get(item_id)
        if sounding is None or track is None or track.half:
            return None
        if sounding.item_id != item_id or sounding.response_id != response_id:
            return None
        return SoundSource(sounding.pattern, track.stream)

    def _session_updated(self, parsed: JsonObject) -> ModelReady | None:
        self._format = _output_format(parsed.get("session")) or self._asked_format
        ready, self._setup_id = self._setup_id is not None, None
        self._ready = self._ready or ready
        return ModelReady() if ready else None

    def _on_call(self, parsed: JsonObject, keys: tuple[str, ...], text: bytes) -> tuple[JsonObject, bytes]:
        """The message with the caller's own positions: the client counts all it has sent, the model what it had."""
        moved: dict[str, Json] = {}
        for key in keys:
            model_ms = whole_of(parsed, key)
            call_ms = self._positions.on_call(model_ms)
            if call_ms != model_ms:
                moved[key] = call_ms
        if not moved:
            return parsed, text
        parsed = {**parsed, **moved}
        return parsed, orjson.dumps(parsed)

    def _noted(self, kind: str, event: ModelEvent | None) -> ModelEvent | None:
        """The event as it is with all that was read before."""
        if type(event) is AgentText:  # most of what is not sound
            if event.item_id not in self._worded:
                _remember(self._worded, event.item_id, True)
        elif isinstance(event, ResponseStarted):
            return self._response_started(event)
        elif isinstance(event, ToolWanted):
            if event.call_id in self._called:
                assert event.wire is not None
                return ModelPassed(event.wire)
            _remember(self._called, event.call_id, True)
        elif isinstance(event, ModelRefused):
            return self._refusal(event)
        elif kind in ("conversation.item.added", "conversation.item.done"):
            return self._of_conversation(kind, event)
        elif kind in ("response.output_audio_transcript.done", "response.output_text.done"):
            return self._whole_words(kind, event)
        return event

    def _response_started(self, event: ResponseStarted) -> ResponseStarted:
        response = event.wire.parsed.get("response") if event.wire is not None else None
        _remember(self._formats, event.response_id, _output_format(response) or self._format)
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
        if not words or item_id in self._worded:
            return event
        return AgentText(text_of(parsed, "response_id"), item_id, words, spoken, event.wire)

    def _refusal(self, event: ModelRefused) -> ModelEvent | None:
        self._beside.discard(event.event_id or "")
        if event.event_id is None and event.code in ENDINGS:
            return ModelLost(event.code, ENDINGS[event.code])
        if event.event_id is None or event.event_id != self._setup_id:
            return event
        error = event.wire.parsed.get("error") if event.wire is not None else None
        param = error.get("param") if isinstance(error, Mapping) else None
        path = param.removeprefix("session.").split(".") if isinstance(param, str) else []
        known = event.code == "unknown_parameter" and path and holds(self._session, path)
        if known and len(self._refused) < MAX_SETUP_RETRIES:
            # A service that does not know a field gets the set-up once more without it.
            log.warning("the model does not take a session field", extra={"field": ".".join(path)})
            self._refused.append(path)
            self._session = without(self._session, path)
            self.retry = self._write_session()
            return None
        self._setup_id = None
        if not self._ready:
            return ModelLost(f"the model refused the session: {event.code}", retryable=False)
        log.warning("the model refused a change of the session", extra={"code": event.code})
        return event

    # ---- commands out

    def encode(self, command: ModelCommand) -> tuple[bytes, ...]:
        """The messages that carry a command out, in order."""
        match command:
            case SendAudio():
                return (self.sound(command),)
            case PassToModel():
                return (command.wire.text,) if command.wire.dialect == DIALECT else ()
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
                return (self._write.tool_output(command.call_id, command.output),)
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
        setup = command.setup
        self._asked_format = setup.output_format
        if not self._ready:
            self._format = setup.output_format
        session = {key: value for key, value in setup.session.items() if key not in self._voids and key != "model"}
        self._session = session if self._semantic_vad else with_server_vad(session)
        if self._session is not session and not self._ready:
            log.warning("this model is not asked for semantic_vad, which it takes and then hears nobody by")
        for path in self._refused:
            self._session = without(self._session, path)
        return self._write_session()

    def _write_session(self) -> bytes:
        self._setup_id, message = self._write.session_update(self._session)
        return message

    def _seed(self, command: Seed) -> tuple[bytes, ...]:
        messages: list[bytes] = []
        for entry in command.past:
            written, item_id = self._write.past(entry)
            messages.extend(written)
            if not item_id.startswith(OWN_PREFIX):  # those of our own making are hidden from the client anyway
                self._told.add(item_id)
        return tuple(messages)


def _read_object(text: bytes) -> JsonObject:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WireError("the model's message is not valid JSON", code="invalid_json") from error
    if type(parsed) is not dict:
        raise WireError("the model's message is not a JSON object", code="invalid_event")
    check_depth(parsed, text)
    return parsed


def _sounding(text: bytes, delta: Delta) -> _Sounding | None:
    pattern = SoundPattern.learn(text, b"delta", delta.audio)
    return None if pattern is None else _Sounding(delta.response_id, delta.item_id, pattern)


def _output_format(holder: Json) -> AudioFormat | None:
    """The format of sound that a session or a response names; None where it names none that we know."""
    value = holder
    for key in ("audio", "output", "format", "type"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return FORMATS.get(value) if isinstance(value, str) else None


def _remember(known: dict[str, Known], key: str, value: Known) -> None:
    if len(known) >= MAX_KNOWN and key not in known:
        del known[next(iter(known))]
    known[key] = value
