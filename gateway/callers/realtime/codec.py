"""Reads a Realtime client's messages as events of the call. `docs/realtime-leg.md` says which field is whose.

Sound is base64 in JSON: PCM16 at 24 kHz, or G.711 at 8 kHz, mono, as the session's input format says.
Source: OpenAI Realtime API reference, client events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import orjson

from audio.runs import SoundStream
from gateway.callers.realtime.view import ClientView
from gateway.legs.closing import MAX_STRIKES
from gateway.legs.fast_path_end import SoundSource
from gateway.realtime import client_events as client
from gateway.realtime import server_events
from gateway.realtime.dialect import DIALECT
from gateway.realtime.owners import filtered_response, item_allowed
from gateway.realtime.scan import PLAIN, SoundPattern, scan_append
from gateway.realtime.session import EffectiveSession
from sessions.errors import WireError
from sessions.events import (
    CallerAudio,
    CallerCleared,
    CallerCommitted,
    CallerEvent,
    CallerPassed,
    CallerText,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    ItemWritten,
    PlaybackReported,
    ResponseWanted,
    SettingsChanged,
)
from sessions.past import PastMessage, PastToolCall
from sessions.ports import Ids, Json, JsonObject
from sessions.values import ResponseRequest, Wire


@dataclass(frozen=True, slots=True)
class Read:
    """Holds what one message means: at most one event for the call, and the gateway's own replies."""

    event: CallerEvent | None = None
    replies: tuple[bytes, ...] = ()


class RealtimeCallerCodec:
    """Reads the messages of one client, keeps its session, and counts malformed messages.

    Sound may bypass it on the fast path; `source` is then the sound of the next messages.
    """

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
        view.made.session = self.session
        self._ids = ids
        self._may_set = may_set
        self.source = SoundSource(PLAIN, SoundStream(session.input_format))  # the caller's sound in the next messages
        self.strikes = 0  # malformed messages in a row
        self.voice_used = False  # once there was speech, the voice cannot be changed

    @property
    def exhausted(self) -> bool:
        """Whether too many messages in a row were malformed or of an unknown type."""
        return self.strikes >= MAX_STRIKES

    def opening(self) -> bytes:
        """The first message to the client."""
        return server_events.session_created(self._ids.new("event"), self.session.as_client_sees())

    def read_sound(self, text: bytes) -> CallerAudio | None:
        """Read a message with sound, which goes on as the bytes that came. None for others, which `read` reads."""
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
                client.read_client_event(text, stream.format)  # raises the same error with the message's event_id
                raise
            source.pattern = SoundPattern.learn(text, b"audio", audio) or source.pattern
        self.strikes = 0
        return CallerAudio(stream.frame(payload), text)

    def read(self, text: bytes) -> Read:
        """Read any message. Raises WireError for one that breaks the protocol; `problem` is then the answer."""
        event = client.read_client_event(text, self.source.stream.format)
        parsed = self._view.names.towards_model(event.parsed)
        if parsed is not event.parsed:
            event, text = replace(event, parsed=parsed), orjson.dumps(parsed)
        read = self._taken(event, text)
        if isinstance(event, client.UnknownClientEvent):
            self.strikes += 1  # the model may know it, but ten in a row are nonsense
        else:
            self.strikes = 0
        return read

    def _taken(self, event: client.ClientEvent, text: bytes) -> Read:
        wire = Wire(DIALECT, text, event.parsed)
        match event:
            case client.AudioAppend():
                return Read(CallerAudio(self.source.stream.frame(event.payload), text))
            case client.SessionUpdate():
                return self._update(event)
            case client.AudioCommit():
                return Read(CallerCommitted(wire))
            case client.AudioClear():
                return Read(CallerCleared(wire))
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
            case client.ItemTruncate() if event.content_index:  # there is no sound in that part: the model refuses it
                return Read(CallerPassed(wire))
            case client.ItemTruncate():
                return Read(PlaybackReported(event.item_id, event.audio_end_ms, wire))
            case client.ResponseCreate():
                return self._respond(event, wire)
            case client.ResponseCancel():
                return Read(CancelWanted(event.response_id, event.event_id, wire))
            case client.OutputAudioClear() | client.UnknownClientEvent():
                return Read(CallerPassed(wire))
            case _:
                assert_never(event)

    def problem(self, error: WireError) -> bytes:
        """Count a malformed message. Returns the answer to it."""
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
        self._view.made.session = session
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
            # For the model this would be a second set of instructions. The client gets it confirmed all the same.
            return self._keep(event, len(wire.text))
        call_id = item.get("call_id")
        if kind == "message" or (kind == "function_call" and isinstance(call_id, str)):
            return Read(self._written(event, wire))
        _, wire = self._placed(event, wire, {})
        if kind == "function_call_output":
            return Read(ClientToolAnswered(str(call_id), str(item.get("output")), wire))
        return Read(CallerPassed(wire))

    def _written(self, event: client.ItemCreate, wire: Wire) -> CallerText | ItemWritten:
        """Read a message or a function call; it goes on under a name by which the model's refusal is recognised."""
        item = event.item
        event_id = self._named(event.parsed)
        named = event_id == event.parsed.get("event_id")
        item_id, wire = self._placed(event, wire, {} if named else {"event_id": event_id})
        if item.get("type") == "function_call":
            call = PastToolCall(item_id, str(item["call_id"]), str(item["name"]), str(item["arguments"]), None)
            return ItemWritten(call, event_id, event.event_id, wire)
        text, images, spoken = _content(item.get("content"))
        if item.get("role") == "user":
            return CallerText(item_id, text, images, spoken, event_id, event.event_id, wire)
        return ItemWritten(PastMessage(item_id, str(item.get("role")), text), event_id, event.event_id, wire)

    def _placed(self, event: client.ItemCreate, wire: Wire, changes: JsonObject) -> tuple[str, Wire]:
        """The item's id, and its message with that id, and behind an item that the model knows.

        `changes` are further fields to change in the message.
        """
        item_id = event.item.get("id")
        changed: dict[str, Json] = {**changes}
        if not isinstance(item_id, str):
            # The id is given here and not by the model, so that it stays valid when the model's leg is replaced.
            item_id = self._ids.new("item")
            changed["item"] = {**event.item, "id": item_id}
        if not self._view.order.knows(item_id):  # else the model refuses it, and the first one stays
            self._view.names.wrote(item_id)
            self._view.made.expect({**event.item, "id": item_id}, len(wire.text))
        previous = self._view.order.wanted(item_id, event.previous_item_id)
        if previous != event.previous_item_id:
            changed["previous_item_id"] = previous  # the client named an item that is kept from the model
        if not changed:
            return item_id, wire
        parsed: JsonObject = {**event.parsed, **changed}
        return item_id, Wire(DIALECT, orjson.dumps(parsed), parsed)

    def _keep(self, event: client.ItemCreate, message_bytes: int) -> Read:
        """Show the client an item that is kept from the model."""
        item = {**event.item, "id": str(event.item.get("id") or self._ids.new("item"))}
        try:
            return Read(None, self._view.kept.create(item, event.previous_item_id, message_bytes))
        except WireError as problem:  # the message is well formed, so it does not count as malformed
            problem.event_id = event.event_id
            return Read(None, (server_events.error_for(self._ids.new("event"), problem),))

    def _own(self, reply: bytes | None, wire: Wire) -> Read:
        return Read(CallerPassed(wire)) if reply is None else Read(None, (reply,))

    def _named(self, message: JsonObject) -> str:
        """The name that the model's refusal of a message will give: the client's own, or one of the gateway's."""
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
            wire = Wire(DIALECT, orjson.dumps(parsed), parsed)
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
    """The text of a message's parts, the number of images among them, and whether there is sound."""
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
