"""The stand-in model's side of the Realtime protocol (GA), pure: takes a client message, returns the server's messages.

Every `input_audio_buffer.append` is answered at once by one `response.output_audio.delta` with the same sound. Around
the deltas there is a conversation in the order of the protocol: the caller's turn is detected, transcribed and
answered. An answer ends after a fixed number of frames or, if the turns of all calls are to end together, when the
period changes. The next turn begins with the next frame. No speech is reported during an answer, so there is no
barge-in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from bench.stamp import FRAME_MS

ANSWER_FRAMES = 100  # two seconds
TRANSCRIPT_EVERY = 10  # frames between two deltas of the agent's transcript
HEARD_AT = 25  # frames; the caller's transcript arrives half a second into the answer, as with a real model
WORDS = ("Certainly, ", "there ", "is ", "a ", "table ", "for ", "two ", "at ", "half past ", "seven.")
HEARD = "Do you have a table for two this evening?"
_GOLDEN = 0.6180339887498949  # the fractional parts of its multiples are evenly spread between 0 and 1
_APPEND = b'"input_audio_buffer.append"'
_AUDIO = b'"audio":"'

Event = dict[str, Any]

_SOUND: Event = {"type": "audio/pcm", "rate": 24000}  # unless a client asks for another format
_USAGE: Event = {
    "total_tokens": 212,
    "input_tokens": 170,
    "output_tokens": 42,
    "input_token_details": {
        "text_tokens": 110,
        "audio_tokens": 60,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 12, "audio_tokens": 30},
}


def _session(number: int, model: str, expires_at: int) -> Event:
    turns = {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": f"sess_bench{number:06d}",
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "include": None,
        "audio": {
            "input": {"format": _SOUND, "transcription": None, "noise_reduction": None, "turn_detection": turns},
            "output": {"format": _SOUND, "voice": "marin", "speed": 1.0},
        },
    }


def merged(session: Event, update: Mapping[str, Any]) -> Event:
    """The session after an update: objects are merged, other values are replaced."""
    result = dict(session)
    for key, value in update.items():
        old = result.get(key)
        keeps = (
            isinstance(old, dict) and isinstance(value, dict) and old.get("type") == value.get("type", old.get("type"))
        )
        result[key] = merged(old, value) if keeps and isinstance(old, dict) else value
    return result


@dataclass(frozen=True, slots=True)
class Turn:
    """Makes the ids and the objects of one turn of a connection."""

    connection: int
    number: int
    output_format: Event = field(default_factory=lambda: dict(_SOUND))

    @property
    def caller_item(self) -> str:
        return f"item_u{self.connection:06d}t{self.number:08d}"

    @property
    def place(self) -> Event:
        """The four fields that all events of the agent's sound share."""
        name = f"{self.connection:06d}t{self.number:08d}"
        return {"response_id": f"resp_{name}", "item_id": f"item_a{name}", "output_index": 0, "content_index": 0}

    def caller_message(self) -> Event:
        """The caller's item; its transcript comes later."""
        return {
            "id": self.caller_item,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }

    def agent_message(self, status: str, words: str | None) -> Event:
        """The agent's item; without content while `words` is None."""
        return {
            "id": self.place["item_id"],
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [] if words is None else [{"type": "output_audio", "transcript": words}],
        }

    def response(self, status: str, output: list[Event], usage: Event | None) -> Event:
        """The response in its present state."""
        cancelled = {"type": "cancelled", "reason": "client_cancelled"}
        return {
            "id": self.place["response_id"],
            "object": "realtime.response",
            "status": status,
            "status_details": cancelled if status == "cancelled" else None,
            "output": output,
            "conversation_id": f"conv_bench{self.connection:06d}",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {"output": {"format": self.output_format, "voice": "marin"}},
            "metadata": None,
            "usage": usage,
        }


def first_frames(number: int, answer_frames: int) -> int:
    """The length of a connection's first answer, chosen so that the turns of many connections end evenly spread."""
    return 1 + int(number * _GOLDEN % 1 * answer_frames)


def _one_period() -> int:
    return 0


class ModelSession:
    """Holds the conversation of one connection. `number` makes its ids unique."""

    def __init__(
        self,
        number: int,
        model: str,
        expires_at: int,
        answer_frames: int = ANSWER_FRAMES,
        first_answer_frames: int | None = None,
        period: Callable[[], int] = _one_period,
    ) -> None:
        """The first answer may have another length; each answer ends when the result of `period` changes, or before."""
        self._session = _session(number, model, expires_at)
        self._answer_frames = answer_frames
        self._due_frames = first_answer_frames or answer_frames  # the length of the present answer
        self._period = period
        self._begun_in = 0  # the period in which the present answer began
        self._events = 0
        self._turn = Turn(number, 0)
        self._heard_frames = 0
        self._answered = 0  # frames of the present answer so far
        self._speaking = False
        self._last_item: str | None = None
        self._delta_head = b""

    def opened(self) -> list[bytes]:
        """The server's first messages."""
        return [self._event("session.created", session=self._session)]

    def receive(self, message: bytes) -> list[bytes]:
        """Answer one message; one that is not known is answered with an `error` event."""
        if _APPEND in message:
            start = message.find(_AUDIO)
            if start >= 0:
                start += len(_AUDIO)
                return self._sound(message[start : message.index(b'"', start)])
        try:
            event = orjson.loads(message)
        except orjson.JSONDecodeError:
            return [self._error("invalid_event", None)]
        match event:
            case {"type": "input_audio_buffer.append", "audio": str(audio)}:
                return self._sound(audio.encode())
            case {"type": "session.update", "session": dict(update)}:
                self._session = merged(self._session, update)
                self._turn = replace(self._turn, output_format=self._session["audio"]["output"]["format"])
                return [self._event("session.updated", session=self._session)]
            case {"type": "response.cancel"} if self._speaking:
                return self._end_answer("cancelled")
            case {"type": "response.cancel"}:
                return [self._error("response_cancel_not_active", event)]
            case {"type": "response.create"} if self._speaking:
                return [self._error("conversation_already_has_active_response", event)]
            case {"type": "input_audio_buffer.clear"}:
                return [self._event("input_audio_buffer.cleared")]
            case {"type": "conversation.item.create", "item": dict(item)}:
                return self._take_item(item)
            case {"type": "conversation.item.truncate", "item_id": str(item), "audio_end_ms": int(end_ms)}:
                done = {"item_id": item, "content_index": 0, "audio_end_ms": end_ms}
                return [self._event("conversation.item.truncated", **done)]
            case {"type": "conversation.item.delete", "item_id": str(item)}:
                return [self._event("conversation.item.deleted", item_id=item)]
        return [self._error("unsupported_by_the_stand_in", event)]

    def _sound(self, audio: bytes) -> list[bytes]:
        out = [] if self._speaking else self._begin_answer()
        self._heard_frames += 1
        self._answered += 1
        self._events += 1
        out.append(b'%b%020d","delta":"%b"}' % (self._delta_head, self._events, audio))
        if self._answered % TRANSCRIPT_EVERY == 0:
            words = WORDS[(self._answered // TRANSCRIPT_EVERY - 1) % len(WORDS)]
            out.append(self._event("response.output_audio_transcript.delta", **self._turn.place, delta=words))
        if self._answered == HEARD_AT:
            out.append(self._caller_words())
        if self._answered >= self._due_frames or self._period() != self._begun_in:
            out += self._end_answer("completed")
            self._due_frames = self._answer_frames
        return out

    def _begin_answer(self) -> list[bytes]:
        """The events of the caller's whole turn, and then those that begin the answer."""
        self._turn = turn = replace(self._turn, number=self._turn.number + 1)
        self._answered = 0
        self._begun_in = self._period()
        self._speaking = True
        place, caller, spoken = turn.place, turn.caller_item, turn.caller_message()
        before, self._last_item = self._last_item, place["item_id"]
        heard_ms = self._heard_frames * FRAME_MS
        where = orjson.dumps(place)[1:-1]
        self._delta_head = b'{"type":"response.output_audio.delta",%b,"event_id":"event_' % where
        opening = turn.agent_message("in_progress", None)
        output = {"response_id": place["response_id"], "output_index": 0, "item": opening}
        started, stopped = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
        part = {"type": "audio", "transcript": ""}
        return [
            self._event(started, audio_start_ms=max(0, heard_ms - 1000), item_id=caller),
            self._event(stopped, audio_end_ms=heard_ms, item_id=caller),
            self._event("input_audio_buffer.committed", item_id=caller, previous_item_id=before),
            self._event("conversation.item.added", item=spoken, previous_item_id=before),
            self._event("conversation.item.done", item=spoken, previous_item_id=before),
            self._event("response.created", response=turn.response("in_progress", [], None)),
            self._event("response.output_item.added", **output),
            self._event("conversation.item.added", item=opening, previous_item_id=caller),
            self._event("response.content_part.added", **place, part=part),
        ]

    def _end_answer(self, status: str) -> list[bytes]:
        self._speaking = False
        words = "".join(WORDS[: self._answered // TRANSCRIPT_EVERY])
        place = self._turn.place
        item = self._turn.agent_message("completed" if status == "completed" else "incomplete", words)
        output = {"response_id": place["response_id"], "output_index": 0, "item": item}
        part = {"type": "audio", "transcript": words}
        ended = [
            self._event("response.output_audio.done", **place),
            self._event("response.output_audio_transcript.done", **place, transcript=words),
            self._event("response.content_part.done", **place, part=part),
            self._event("response.output_item.done", **output),
            self._event("conversation.item.done", item=item, previous_item_id=self._turn.caller_item),
            self._event("response.done", response=self._turn.response(status, [item], _USAGE)),
        ]
        return [self._caller_words(), *ended] if self._answered < HEARD_AT else ended

    def _caller_words(self) -> bytes:
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": 1.0}
        return self._event(kind, item_id=self._turn.caller_item, content_index=0, transcript=HEARD, usage=usage)

    def _take_item(self, item: Event) -> list[bytes]:
        self._events += 1
        item = {"object": "realtime.item", "status": "completed", "id": f"item_bench{self._events:012d}", **item}
        before, self._last_item = self._last_item, str(item["id"])
        kinds = ("conversation.item.added", "conversation.item.done")
        return [self._event(kind, item=item, previous_item_id=before) for kind in kinds]

    def _error(self, code: str, event: object) -> bytes:
        named = event.get("event_id") if isinstance(event, dict) else None
        detail = {"type": "invalid_request_error", "code": code, "message": code, "param": None, "event_id": named}
        return self._event("error", error=detail)

    def _event(self, kind: str, **fields: object) -> bytes:
        self._events += 1
        return orjson.dumps({"type": kind, "event_id": f"event_{self._events:020d}", **fields})
