"""A Realtime server with the simplest of brains, and a client that remembers all it was told."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from audio.formats import AudioFrame
from gateway.ids import CountingIds
from gateway.realtime.brain import Ear, OpenResponse
from gateway.realtime.server import RealtimeServer
from sessions.ports import JsonObject

VOICE_MS = 40  # of sound for each word


class Parrot:
    """Says what it is told to; notes what happens to it.

    A request's `metadata.do` is a list of words: `say:TEXT`, `long:MS`, `call:NAME`, `finish`, `fail`, `incomplete`.
    Without it the answer is one word, then the end. What follows `wait` is done on the next `go_on`.
    """

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.sessions: list[JsonObject] = []
        self.frames: list[AudioFrame] = []
        self.notes: list[tuple[Any, ...]] = []
        self.waiting: list[tuple[OpenResponse, list[str]]] = []
        self.closed = False
        self.deadline_ms: int | None = None

    def configured(self, session: JsonObject) -> None:
        self.sessions.append(session)

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        self.frames.append(frame)

    def committed(self, item_id: str, now_ms: int) -> None:
        self.notes.append(("committed", item_id))

    def cleared(self) -> None:
        self.notes.append(("cleared",))

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        self.notes.append(("item", item["id"]))

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        self.notes.append(("truncated", item_id, audio_end_ms))

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        self.notes.append(("respond", response.id))
        metadata = response.metadata or {}
        self._do(response, str(metadata.get("do", "say:hello finish")).split())

    def stopped(self, response_id: str) -> None:
        self.notes.append(("stopped", response_id))

    def on_time(self, now_ms: int) -> None:
        self.notes.append(("time", now_ms))

    def close(self) -> None:
        self.closed = True

    def go_on(self) -> None:
        """Do what was left for later, in answers that are over too."""
        waiting, self.waiting = self.waiting, []
        for response, rest in waiting:
            self._do(response, rest)

    def _do(self, response: OpenResponse, words: list[str]) -> None:
        for at, word in enumerate(words):
            match word.split(":"):
                case ["wait"]:
                    self.waiting.append((response, words[at + 1 :]))
                    return
                case ["say", text]:
                    response.say(text, bytes(response.output_format.bytes_for_ms(VOICE_MS)))
                case ["long", ms]:
                    response.say("", bytes(response.output_format.bytes_for_ms(int(ms))))
                case ["call", name]:
                    response.call_tool(name, '{"a":1}')
                case ["finish"]:
                    response.finish()
                case ["fail"]:
                    response.fail("broken", "It broke.")
                case ["incomplete"]:
                    response.incomplete("max_output_tokens")


class Caller:
    """A client in the same process. `told` is every event so far; `take()` is those since the last take."""

    def __init__(self, model: str = "parrot") -> None:
        self.told: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self._taken = 0
        self.now_ms = 1000
        brains: list[Parrot] = []

        def make(ear: Ear) -> Parrot:
            brains.append(Parrot(ear))
            return brains[0]

        self.server = RealtimeServer(
            make, CountingIds(), self._hear, now_ms=self.now_ms, wall_s=1_900_000_000.0, model=model
        )
        self.brain = brains[0]
        self.server.open(self.now_ms)

    def _hear(self, text: bytes) -> None:
        self.raw.append(text)
        self.told.append(orjson.loads(text))

    def send(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Send one event; what was answered at once."""
        return self.send_raw(orjson.dumps({"type": type, **fields}))

    def send_raw(self, text: bytes) -> list[dict[str, Any]]:
        """Send one message as it stands."""
        self.take()
        self.server.receive(text, self.now_ms)
        return self.take()

    def speak(self, ms: int = 100, bytes_a_ms: int = 48) -> list[dict[str, Any]]:
        """Append so much silence."""
        return self.send("input_audio_buffer.append", audio=base64.b64encode(bytes(ms * bytes_a_ms)).decode())

    def take(self) -> list[dict[str, Any]]:
        """The events since the last take."""
        new = self.told[self._taken :]
        self._taken = len(self.told)
        return new


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [event["type"] for event in events]
