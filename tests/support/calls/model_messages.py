"""Messages of a Realtime model, and the codec that reads them."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.ids import CountingIds
from gateway.models.realtime.codec import RealtimeModelCodec
from sessions.commands import Configure, RequestResponse
from sessions.events import AgentAudio, ModelEvent, ModelReady, ResponseEnded
from sessions.ports import JsonObject
from sessions.setup import ModelSetup, TurnPolicy
from sessions.values import ResponseRequest

PLACE = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
ITEM = {"id": "item_1", "type": "message", "role": "assistant", "content": []}


def new_codec(**changes: Any) -> RealtimeModelCodec:
    return RealtimeModelCodec(CountingIds(), **{"speaks_given_text": False, **changes})


def ready_codec(**changes: Any) -> RealtimeModelCodec:
    codec = new_codec(**changes)
    codec.encode(Configure(setup()))
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    return codec


def setup(session: JsonObject | None = None, output: AudioFormat = PCM16_24K) -> ModelSetup:
    wanted = {"type": "realtime", **(session or {})}
    return ModelSetup(wanted, PCM16_24K, output, False, TurnPolicy.MODEL_INTERRUPTS, None)


def sent(codec: RealtimeModelCodec, command: Any) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in codec.encode(command)]


def request(**changes: Any) -> RequestResponse:
    fields: dict[str, Any] = {"out_of_band": False, "metadata": None, "say": None, "wire": None, **changes}
    return RequestResponse(ResponseRequest("pb_ask", **fields))


def frame(start_ms: int, ms: int = 20) -> AudioFrame:
    return AudioFrame(bytes(PCM16_24K.bytes_for_ms(ms)), PCM16_24K, start_ms * 24)


def message(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"type": kind, "event_id": "event_1", **fields})


def delta(sound: bytes, item_id: str = "item_1", response_id: str = "resp_1") -> bytes:
    fields = {**PLACE, "item_id": item_id, "response_id": response_id}
    return message("response.output_audio.delta", **fields, delta=base64.b64encode(sound).decode())


def speech(codec: RealtimeModelCodec, text: bytes) -> AgentAudio:
    event = codec.decode(text)
    assert isinstance(event, AgentAudio)
    return event


def shown(event: Any) -> dict[str, Any]:
    """The message of an event as a client gets it."""
    parsed: dict[str, Any] = orjson.loads(event.wire.text)
    assert parsed == event.wire.parsed
    return parsed


class Model:
    """A codec, and what a model says to it."""

    def __init__(self) -> None:
        self.codec = new_codec()

    def says(self, kind: str, **fields: Any) -> ModelEvent | None:
        return self.codec.decode(message(kind, **fields))

    def begins(self, *, speaks: bool) -> None:
        self.says("response.created", response={"id": "resp_1", "status": "in_progress"})
        if speaks:
            self.says("response.output_item.added", response_id="resp_1", output_index=0, item=ITEM)

    def ends(self, **fields: Any) -> ResponseEnded:
        event = self.says("response.done", **fields)
        assert isinstance(event, ResponseEnded)
        return event
