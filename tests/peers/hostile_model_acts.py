"""What a hostile model does when a caller says `go now`, or instead of opening a session."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from peers.hostile_answers import nested
from peers.hostile_model import Session, answer

Go = Callable[[Session], Awaitable[None]]


def first(*messages: str | bytes, text: bool = True) -> Go:
    """These messages, then a good answer."""

    async def go(session: Session) -> None:
        for message in messages:
            await session.raw(message, text=text)
        await session.good()

    return go


def events(make: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Go:
    """A good answer with changed events."""

    async def go(session: Session) -> None:
        await session.all(make(session.response()))

    return go


def changed(kind: str, **fields: Any) -> Go:
    """A good answer in which the events of one type have other fields."""
    return events(lambda events: [{**event, **fields} if event["type"] == kind else event for event in events])


def done(**fields: Any) -> Go:
    """A good answer with other fields in its end."""
    return events(lambda events: [*events[:-1], {**events[-1], "response": {**events[-1]["response"], **fields}}])


def close(code: int, after: int = 0) -> Go:
    async def go(session: Session) -> None:
        await session.all(session.response()[:after])
        await session.socket.close(code, "bye")

    return go


async def abort(session: Session) -> None:
    await session.all(session.response()[:6])
    session.socket.transport.abort()


async def nothing(session: Session) -> None:
    """Never answer."""


async def begins_only(session: Session) -> None:
    await session.all(session.response()[:6])


async def half_a_frame(session: Session) -> None:
    session.socket.transport.write(b"\x81\x7f" + (1 << 20).to_bytes(8, "big") + b"{")


async def broken_frame(session: Session) -> None:
    session.socket.transport.write(b"\xff\xff\xff\xff" * 10)


def frame(head: bytes, payload: bytes = b"") -> Go:
    async def go(session: Session) -> None:
        session.socket.transport.write(head + payload)
        await session.good()

    return go


async def big_delta_then_silence(session: Session) -> None:
    """300 KB in one message, then nothing for a while: what has arrived must reach the caller at once."""
    big = b64encode(bytes(225_000)).decode()
    events = answer("resp_big", "Fine.", 1, big)
    await session.all(events[:6])
    await asyncio.sleep(3)
    await session.all(events[6:])


async def flood_of_deltas(session: Session) -> None:
    await session.all(session.response(deltas=6000))


async def flood_of_unknown(session: Session) -> None:
    for _ in range(20_000):
        await session.raw('{"type":"response.weather","wind":7}')
    await session.good()


async def flood_of_pings(session: Session) -> None:
    for _ in range(2_000):
        session.socket.transport.write(b"\x89\x04ping" * 100)
        await asyncio.sleep(0)
    await session.good()


async def speaks_on_after_a_cancel(session: Session) -> None:
    events = session.response()
    await session.all(events[:6])
    await session.send("input_audio_buffer.speech_started", item_id="item_c", audio_start_ms=1)
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await session.cancelled.wait()
    for _ in range(50):
        await session.raw(json.dumps(events[5]))
    await session.all(events[6:])


async def speaks_on_after_the_end(session: Session) -> None:
    events = session.response()
    await session.all(events)
    for _ in range(50):
        await session.raw(json.dumps(events[5]))
    await session.all(events[4:])


async def call_functions(session: Session, calls: list[dict[str, Any]]) -> None:
    events = session.response()
    of = {"response_id": events[0]["response"]["id"], "output_index": 0}
    await session.all(events[:1])
    for number, call in enumerate(calls):
        item = {"id": f"item_f{number}", "type": "function_call", "status": "completed", **call}
        await session.send("response.output_item.added", **of, item=item)
        await session.send("response.output_item.done", **of, item=item)
    session.words = "after the calls"
    await session.all(events[-1:])


def functions(*calls: dict[str, Any]) -> Go:
    async def go(session: Session) -> None:
        await call_functions(session, list(calls))

    return go


BOOK = {"name": "book", "call_id": "call_1", "arguments": "{}"}
READ_TYPES = (
    "conversation.item.added", "conversation.item.created", "conversation.item.deleted", "conversation.item.done",
    "conversation.item.input_audio_transcription.completed", "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.failed", "conversation.item.truncated", "error",
    "input_audio_buffer.cleared", "input_audio_buffer.committed", "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped", "input_audio_buffer.timeout_triggered", "rate_limits.updated",
    "response.content_part.added", "response.created", "response.done", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.output_audio.delta", "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done", "response.output_item.added", "response.output_item.done",
    "response.output_text.delta", "session.created", "session.updated",
)  # fmt: skip
FIELDS = ("item", "response", "session", "error", "item_id", "response_id", "delta", "transcript", "audio_start_ms",
          "audio_end_ms", "part", "rate_limits", "call_id", "name", "arguments", "output_index")  # fmt: skip
ODD = ({}, None, 7, [], "x", {"id": None, "status": [], "type": {}, "code": 7}, -1)


def of_type(kind: str) -> Go:
    """A type with each field missing or odd, then a good answer. Fewer than ten faults in a row are tolerated."""
    messages = [{"type": kind}, *({"type": kind, **dict.fromkeys(FIELDS, value)} for value in ODD)]
    return first(*(json.dumps(message) for message in messages))


ODD_MESSAGES: dict[str, str | bytes] = {
    "null": "null", "a list": "[]", "a number": "7", "a text": '"x"', "an empty object": "{}", "nothing": "",
    "no JSON": "{{{", "NaN": "NaN", "type null": '{"type":null}', "type a number": '{"type":7}',
    "type a list": '{"type":["error"]}', "type an object": '{"type":{}}',
    "type of 1 MB": '{"type":"' + "x" * 2**20 + '"}',
    "half an emoji": r'{"type":"x","\ud83d":"\ud83d"}', "200 lists deep": b'{"type":"x","a":' + nested(200) + b"}",
    "100000 lists deep": b'{"type":"x","a":' + nested(100_000) + b"}",
    "5 MB": '{"type":"x","a":"' + "x" * 5_000_000 + '"}',
    "5 MB in 300000 parts": b'{"type":"x","a":[' + b",".join([b'{"a":"aaaaaaa"}'] * 300_000) + b"]}",
    "a number of 100000 digits": '{"type":"x","a":' + "9" * 100_000 + "}", "a NUL": '{"type":"x","a":"\\u0000"}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"x"}',
}  # fmt: skip
CODES = ("insufficient_quota", "content_filter", "rate_limit_exceeded", "session_expired", "invalid_api_key",
         "model_not_found", "server_error", "context_length_exceeded", "", None, 7)  # fmt: skip


async def ten_odd(session: Session) -> None:
    for _ in range(10):
        await session.raw("null")


def opens(*messages: str) -> Go:
    async def opens(session: Session) -> None:
        for message in messages:
            await session.raw(message)
        async for _ in session.socket:
            pass

    return opens


async def closes_at_once(session: Session) -> None:
    await session.socket.close(1011, "no")


async def refuses_session(session: Session) -> None:
    await session.send("session.created", session={"id": "sess_1"})
    async for message in session.socket:
        event = json.loads(message)
        if event["type"] == "session.update":
            error = {"type": "invalid_request_error", "code": "invalid_value", "param": "session.tools[2].parameters"}
            await session.send("error", error={**error, "message": "no", "event_id": event.get("event_id")})
