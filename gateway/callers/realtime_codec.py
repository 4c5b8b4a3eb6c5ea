"""A Realtime client's messages in, the call's events out, by the table of who owns what (`docs/realtime-leg.md`).

Wire audio: base64 in JSON; PCM16 24 kHz, or G.711 at 8 kHz, mono, as the session's input format says.
Source: OpenAI Realtime API reference, client events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import orjson

from audio.runs import SoundStream
from gateway.callers.realtime_view import ClientView
from gateway.lane import SoundSource
from gateway.realtime import client_events as client
from gateway.realtime import server_events
from gateway.realtime.owners import filtered_response, item_allowed
from gateway.realtime.scan import PLAIN, SoundPattern, scan_append
from gateway.realtime.session import EffectiveSession
from sessions.errors import WireError
from sessions.events import (
    CallerAudio,
    CallerCommitted,
    CallerEvent,
    CallerPassed,
    CallerText,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    ItemWritten,
    PlaybackReported,
    ResponseRequest,
    ResponseWanted,
    SettingsChanged,
    Wire,
)
from sessions.past import PastMessage, PastToolCall
from sessions.ports import Ids, Json, JsonObject

MAX_STRIKES = 10  # malformed messages in a row; then the leg closes


@dataclass(frozen=True, slots=True)
class Read:
    """What one message means: at most one event for the call, and answers that the gateway gives by itself."""

    event: CallerEvent | None = None
    replies: tuple[bytes, ...] = ()


class RealtimeCallerCodec:
    """Reads one client's messages; keeps its session, and counts what is malformed. Sound may bypass it: `source`."""

    __slots__ = (
        "_ids",
        "_may_set",
        "_view",
        "session",
        "source",
        "strikes",
        "voice_used",
    )

    def __init__(self, session: EffectiveSession, view: ClientView, ids: Ids, may_set: frozenset[str]) -> None:
        self.session = session.for_client(may_set)
        self._view = view
        view.tools.client_tools = self.session.client_tools
        self._ids = ids
        self._may_set = may_set
        self.source = SoundSource(PLAIN, SoundStream(session.input_format))  # the caller's sound, as it comes now
        self.strikes = 0  # malformed messages in a row
        self.voice_used = False  # after the first speech, the voice stays

    @property
    def exhausted(self) -> bool:
        """Too many messages in a row were malformed, or of no type that we know."""
        return self.strikes >= MAX_STRIKES

    def opening(self) -> bytes:
        """The session's first message."""
        return server_events.session_created(self._ids.new("event"), self.session.as_client_sees())

    def read_sound(self, text: bytes) -> CallerAudio | None:
        """The quick way for sound, which goes on as the bytes that came. None: not surely sound, so `read` it."""
        source = self.source
        stream = source.stream
        payload = source.pattern.payload(text)
        if payload is None or len(payload) % stream.format.sample_bytes:
            audio = scan_append(text)
            if audio is None:
                return None
            try:
                payload = client.decode_append(audio, stream.format)
            except WireError:
                client.read_client_event(text, stream.format)  # raises the same, with the message's own event_id
                raise
            source.pattern = SoundPattern.learn(text, b"audio", audio) or source.pattern
        self.strikes = 0
        return CallerAudio(stream.frame(payload), text)

    def read(self, text: bytes) -> Read:
        """Read any message. Raises WireError for one that breaks the protocol; the caller answers with `problem`."""
        event = client.read_client_event(text, self.source.stream.format)
        parsed = self._view.names.towards_model(event.parsed)
        if parsed is not event.parsed:
            event, text = replace(event, parsed=parsed), orjson.dumps(parsed)
        read = self._taken(event, text)
        if isinstance(event, client.UnknownClientEvent):
            self.strikes += 1  # the model may know it and answers it; ten in a row are nonsense all the same
        else:
            self.strikes = 0
        return read

    def _taken(self, event: client.ClientEvent, text: bytes) -> Read:
        wire = Wire("realtime", text, event.parsed)
        match event:
            case client.AudioAppend():
                return Read(CallerAudio(self.source.stream.frame(event.payload), text))
            case client.SessionUpdate():
                return self._update(event)
            case client.AudioCommit():
                return Read(CallerCommitted(wire))
            case client.ItemCreate():
                return self._create(event, wire)
            case client.ItemRetrieve():
                return self._own(self._view.kept.retrieve(event.item_id), wire)
            case client.ItemDelete():
                reply = self._view.kept.delete(event.item_id)
                if reply is not None:
                    return Read(None, (reply,))
                name = event.parsed.get("event_id")
                named = name if isinstance(name, str) else None
                return Read(DeleteWanted(event.item_id, named, event.event_id, wire))
            case client.ItemTruncate() if event.content_index:  # no such sound: the model refuses it
                return Read(CallerPassed(wire))
            case client.ItemTruncate():
                return Read(PlaybackReported(event.item_id, event.audio_end_ms, wire))
            case client.ResponseCreate():
                return self._respond(event, wire)
            case client.ResponseCancel():
                return Read(CancelWanted(event.response_id, event.event_id, wire))
            case client.AudioClear() | client.OutputAudioClear() | client.UnknownClientEvent():
                return Read(CallerPassed(wire))
            case _:
                assert_never(event)

    def problem(self, error: WireError) -> bytes:
        """The answer to a malformed message."""
        self.strikes += 1
        return server_events.error_for(self._ids.new("event"), error)

    def _update(self, event: client.SessionUpdate) -> Read:
        try:
            session = self.session.merged(event.session, self._may_set, voice_locked=self.voice_used)
        except WireError as error:
            error.event_id = event.event_id
            raise
        self.session = session
        self._view.tools.client_tools = session.client_tools
        before = self.source.stream
        if session.input_format != before.format:
            samples = before.samples * session.input_format.rate_hz // before.format.rate_hz
            self.source.stream = SoundStream(session.input_format, samples)
        updated = server_events.session_updated(self._ids.new("event"), session.as_client_sees())
        return Read(SettingsChanged(session.setup()), (updated,))

    def _create(self, event: client.ItemCreate, wire: Wire) -> Read:
        item = event.item
        kind, role = item.get("type"), item.get("role")
        if kind == "message" and role == "system" and not item_allowed(item, self._may_set):
            # Told to the model, this would be a second set of instructions. The client is told that all is well.
            return self._keep(event, len(wire.text))
        call_id = item.get("call_id")
        if kind == "message" or (kind == "function_call" and isinstance(call_id, str)):
            return Read(self._written(event, wire))
        _, wire = self._placed(event, wire, {})
        if kind == "function_call_output":
            return Read(ClientToolAnswered(str(call_id), str(item.get("output")), wire))
        return Read(CallerPassed(wire))

    def _written(self, event: client.ItemCreate, wire: Wire) -> CallerText | ItemWritten:
        """A message, or a function call with its id, named so that a refusal of the model's can be told apart."""
        item = event.item
        event_id = self._named(event.parsed)
        named = event_id == event.parsed.get("event_id")
        item_id, wire = self._placed(event, wire, {} if named else {"event_id": event_id})
        if item.get("type") == "function_call":
            call = PastToolCall(item_id, str(item["call_id"]), str(item["name"]), str(item["arguments"]), "")
            return ItemWritten(call, event_id, event.event_id, wire)
        text, images, spoken = _content(item.get("content"))
        if item.get("role") == "user":
            return CallerText(item_id, text, images, spoken, event_id, event.event_id, wire)
        return ItemWritten(PastMessage(item_id, str(item.get("role")), text), event_id, event.event_id, wire)

    def _placed(self, event: client.ItemCreate, wire: Wire, changes: JsonObject) -> tuple[str, Wire]:
        """The item's id, and its message as the model can follow it: with that id, behind an item that it knows.

        `changes`: what else is to be changed in the message.
        """
        item_id = event.item.get("id")
        changed: dict[str, Json] = {**changes}
        if not isinstance(item_id, str):
            # Named here and not by the model, so that the name stays good when the model's leg is replaced.
            item_id = self._ids.new("item")
            changed["item"] = {**event.item, "id": item_id}
        if not self._view.order.knows(item_id):  # else the model refuses it, and the first stands
            self._view.names.wrote(item_id)
        previous = self._view.order.wanted(item_id, event.previous_item_id)
        if previous != event.previous_item_id:
            changed["previous_item_id"] = previous  # the client named an item that is kept from the model
        if not changed:
            return item_id, wire
        parsed: JsonObject = {**event.parsed, **changed}
        return item_id, Wire("realtime", orjson.dumps(parsed), parsed)

    def _keep(self, event: client.ItemCreate, message_bytes: int) -> Read:
        """Show the client an item that the model is not told of."""
        item = {**event.item, "id": str(event.item.get("id") or self._ids.new("item"))}
        try:
            return Read(None, self._view.kept.create(item, event.previous_item_id, message_bytes))
        except WireError as problem:  # the message is well formed, and so no strike: it cannot be followed
            problem.event_id = event.event_id
            return Read(None, (server_events.error_for(self._ids.new("event"), problem),))

    def _own(self, reply: bytes | None, wire: Wire) -> Read:
        return Read(CallerPassed(wire)) if reply is None else Read(None, (reply,))

    def _named(self, message: JsonObject) -> str:
        """What the model calls a message of the client's when it refuses it: as it is named, or a name of ours."""
        name = message.get("event_id")
        return name if isinstance(name, str) else self._ids.new("pb")

    def _respond(self, event: client.ResponseCreate, wire: Wire) -> Read:
        try:
            response = filtered_response(event.response, self._may_set)
        except WireError as error:
            error.event_id = event.event_id
            raise
        if response != event.response:
            parsed: JsonObject = {**event.parsed, "response": response}
            wire = Wire("realtime", orjson.dumps(parsed), parsed)
        metadata = response.get("metadata")
        request = ResponseRequest(
            request_id=self._named(event.parsed),
            out_of_band=response.get("conversation") == "none",
            metadata=metadata if isinstance(metadata, Mapping) else None,
            say=None,
            wire=wire,
        )
        return Read(ResponseWanted(request, event.event_id))


def _content(parts: Json) -> tuple[str, int, bool]:
    """The text of a message's parts, how many pictures are among them, and whether sound is."""
    texts: list[str] = []
    images, spoken = 0, False
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, Mapping):
            continue
        if part.get("type") == "input_image":
            images += 1
        spoken = spoken or part.get("type") == "input_audio"
        said = part.get("text") or part.get("transcript")
        if isinstance(said, str):
            texts.append(said)
    return " ".join(texts), images, spoken
