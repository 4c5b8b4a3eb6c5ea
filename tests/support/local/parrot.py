"""A Realtime server with a minimal brain, and a client that records all events."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from audio.formats import AudioFrame
from gateway.ids import CountingIds
from gateway.realtime.server.brain import OpenResponse, TurnEvents
from gateway.realtime.server.server import RealtimeServer
from sessions.ports import JsonObject

VOICE_MS = 40  # of sound for each word


class Parrot:
    """A brain that follows the request's `metadata.do`, and records every call in `notes`.

    A request's `metadata.do` is a list of words: `say:TEXT`, `long:MS`, `call:NAME`, `finish`, `fail`, `incomplete`.
    Without it the answer is one word, then the end. The words after `wait` are carried out by the next `go_on`.
    """

    def __init__(self, turn_events: TurnEvents) -> None:
        self.turns = turn_events
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
        """Carry out the words after `wait`, also in responses that have ended."""
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
    """A client in the same process. `events` has all events; `take()` returns those since the last call."""

    def __init__(self, model: str = "parrot") -> None:
        self.events: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self._taken = 0
        self.now_ms = 1000
        brains: list[Parrot] = []

        def make(turn_events: TurnEvents) -> Parrot:
            brains.append(Parrot(turn_events))
            return brains[0]

        self.server = RealtimeServer(
            make, CountingIds(), self._record, now_ms=self.now_ms, wall_s=1_900_000_000.0, model=model
        )
        self.brain = brains[0]
        self.server.open(self.now_ms)

    def _record(self, text: bytes) -> None:
        self.raw.append(text)
        self.events.append(orjson.loads(text))

    def send(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Send one event, and return the events that follow at once."""
        return self.send_raw(orjson.dumps({"type": type, **fields}))

    def send_raw(self, text: bytes) -> list[dict[str, Any]]:
        """Send one message unchanged, and return the events that follow at once."""
        self.take()
        self.server.receive(text, self.now_ms)
        return self.take()

    def speak(self, ms: int = 100, bytes_a_ms: int = 48) -> list[dict[str, Any]]:
        """Append silence."""
        return self.send("input_audio_buffer.append", audio=base64.b64encode(bytes(ms * bytes_a_ms)).decode())

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call."""
        new = self.events[self._taken :]
        self._taken = len(self.events)
        return new


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The events' types."""
    return [event["type"] for event in events]
