"""Shared by the tests of the embedded model: the demo agent's dialogue, the loaded parts, and fakes of both peers."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from gateway.ids import CountingIds
from gateway.models.local.dialogue.dialogue import compile_dialogue
from gateway.models.local.dialogue.rules import Dialogue
from gateway.models.local.engine import Parts, local_brain_factory, shared_parts
from gateway.models.local.server import LocalServer
from gateway.models.local.speech.recogniser import Vocabulary
from gateway.realtime.server.brain import Brain, BrainFactory
from sessions.errors import VoiceError
from sessions.ports import JsonObject

FRONT_DESK = Path(__file__).parents[3] / "agents" / "front-desk.yaml"
FRAME_MS = 20


def front_desk_offline() -> dict[str, Any]:
    """A new copy of the demo agent's `offline:` section."""
    offline = yaml.safe_load(FRONT_DESK.read_text())["offline"]
    assert isinstance(offline, dict)
    return offline


@cache
def front_desk() -> Dialogue:
    """The demo agent's dialogue."""
    return compile_dialogue(front_desk_offline())


def parts_or_skip() -> Parts:
    """The loaded parts; skips the test where one is not installed."""
    try:
        return shared_parts()
    except VoiceError as missing:
        pytest.skip(str(missing))


@cache
def front_desk_vocabulary() -> Vocabulary:
    """The grammars of the demo agent's dialogue."""
    return Vocabulary(front_desk())


def front_desk_brains() -> BrainFactory:
    """Brains for the demo agent with a separate slice schedule; skips the test where a part is not installed."""
    return local_brain_factory(front_desk(), parts_or_skip(), vocabulary=front_desk_vocabulary())


def spoken(text: str) -> bytes:
    """A caller's sentence as PCM16 at 24 kHz, followed by 1 s of silence."""
    from gateway.models.local.speech.voice import speak_pcm16_24k

    return speak_pcm16_24k(text) + bytes(PCM16_24K.bytes_for_ms(1000))


def frames(payload: bytes, format: AudioFormat = PCM16_24K) -> Iterator[AudioFrame]:
    """Sound in frames of 20 ms."""
    step = format.bytes_for_ms(FRAME_MS)
    for begin in range(0, len(payload), step):
        yield AudioFrame(payload[begin : begin + step], format, begin // format.sample_bytes)


@dataclass
class TurnRecorder:
    """`TurnEvents` that record every event, and request an answer when the caller stops."""

    notes: list[tuple[str, str]] = field(default_factory=list)
    responses: list[RecordedResponse] = field(default_factory=list)
    brain: Brain | None = None
    now_ms: int = 0
    answers: bool = True

    def speech_started(self, at_ms: int) -> str:
        self.notes.append(("started", str(at_ms)))
        for response in self.responses:
            if not response.ended:
                response.ended = True
                assert self.brain is not None
                self.brain.stopped(response.id)
        return f"item_{len(self.notes)}"

    def speech_stopped(self, at_ms: int) -> str:
        self.notes.append(("stopped", str(at_ms)))
        if self.answers:
            self.ask()
        return f"item_{len(self.notes)}"

    def transcribed_part(self, item_id: str, text: str) -> None:
        self.notes.append(("part", text))

    def transcribed(self, item_id: str, text: str) -> None:
        self.notes.append(("said", text))

    def not_transcribed(self, item_id: str, code: str, message: str) -> None:
        self.notes.append(("unclear", code))

    def ask(self, request: JsonObject | None = None, *, text_only: bool = False) -> RecordedResponse:
        """Request an answer from the brain."""
        response = RecordedResponse(f"resp_{len(self.responses)}", text_only)
        self.responses.append(response)
        assert self.brain is not None
        self.brain.respond(response, request or {}, self.now_ms)
        return response

    @property
    def said(self) -> list[str]:
        """The transcripts of the caller's turns."""
        return [text for what, text in self.notes if what == "said"]


@dataclass
class RecordedResponse:
    """An `OpenResponse` that records the answer."""

    id: str
    text_only: bool = False
    output_format: AudioFormat = PCM16_24K
    metadata: JsonObject | None = None
    text: str = ""
    sound: bytes = b""
    calls: list[tuple[str, str, str]] = field(default_factory=list)  # id, name, arguments
    ended: bool = False
    finished: bool = False

    def say(self, text: str, pcm: bytes) -> None:
        assert not self.ended, "the answer had ended"
        self.text += text
        self.sound += pcm

    def call_tool(self, name: str, arguments: str) -> str:
        call_id = f"call_{self.id}_{len(self.calls)}"
        self.calls.append((call_id, name, arguments))
        return call_id

    def finish(self, usage: JsonObject | None = None) -> None:
        self.ended = self.finished = True

    def fail(self, code: str, message: str) -> None:
        self.ended = True

    def incomplete(self, reason: str) -> None:
        self.ended = True


class LocalCall:
    """A call with one brain, in virtual time."""

    def __init__(self, make: BrainFactory, *, manual_turns: bool = False, format: str = "audio/pcm") -> None:
        self.turns = TurnRecorder()
        self.brain = self.turns.brain = make(self.turns)
        detection: JsonObject | None = None if manual_turns else {"type": "server_vad", "silence_duration_ms": 500}
        self.brain.configured({"audio": {"input": {"format": {"type": format}, "turn_detection": detection}}})

    def hear(self, payload: bytes, format: AudioFormat = PCM16_24K) -> None:
        """Send the caller's sound in real time."""
        for frame in frames(payload, format):
            self.brain.heard(frame, self.turns.now_ms)
            self.advance(FRAME_MS)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        end_ms = self.turns.now_ms + ms
        while (due_ms := self.brain.deadline_ms) is not None and due_ms <= end_ms:
            self.turns.now_ms = max(self.turns.now_ms, due_ms)
            self.brain.on_time(self.turns.now_ms)
        self.turns.now_ms = end_ms

    def type(self, text: str, *, text_only: bool = False) -> RecordedResponse:
        """Add a typed message, and request an answer to it."""
        item: JsonObject = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.brain.item_added(item, self.turns.now_ms)
        return self.turns.ask(text_only=text_only)

    def tool_gives(self, **result: object) -> RecordedResponse:
        """Add the result of the last response's call, and request an answer to it."""
        call_id = self.turns.responses[-1].calls[-1][0]
        item = {"type": "function_call_output", "call_id": call_id, "output": json.dumps(result)}
        self.brain.item_added(item, self.turns.now_ms)
        return self.turns.ask()


class ServedCall:
    """A client of the embedded model's server, in virtual time."""

    def __init__(self, make: BrainFactory, *, manual_turns: bool = False) -> None:
        self.now_ms = 0
        self.events: list[dict[str, Any]] = []
        self.server = LocalServer(make, CountingIds(), self._record, now_ms=0, wall_s=0.0, model="local/offline")
        self.server.open(0)
        detection: JsonObject | None = None if manual_turns else {"type": "server_vad", "silence_duration_ms": 500}
        transcription: JsonObject = {"model": "any"}
        given: JsonObject = {"turn_detection": detection, "transcription": transcription}
        self.send("session.update", session={"type": "realtime", "audio": {"input": given}})
        self.events.clear()

    def _record(self, message: bytes) -> None:
        self.events.append(json.loads(message))

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message of the client."""
        self.server.receive(json.dumps({"type": kind, **fields}).encode(), self.now_ms)

    def append(self, payload: bytes) -> None:
        """Append sound in one message."""
        self.send("input_audio_buffer.append", audio=b64encode(payload).decode())

    def stream(self, payload: bytes) -> None:
        """Append sound in real time."""
        for frame in frames(payload):
            self.append(frame.payload)
            self.advance(FRAME_MS)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        end_ms = self.now_ms + ms
        while (due_ms := self.server.deadline_ms) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.server.on_time(self.now_ms)
        self.now_ms = end_ms

    def kinds(self) -> list[str]:
        """The types of the server's events, without deltas and content parts."""
        return [event["type"] for event in self.events if "delta" not in event["type"] and "_part" not in event["type"]]

    @property
    def transcripts(self) -> list[str]:
        """The transcripts of the caller's turns."""
        done = "conversation.item.input_audio_transcription.completed"
        return [event["transcript"] for event in self.events if event["type"] == done]
