"""The hostile models of the sweep's table: what each does when a caller says `go now`, and what the call must say."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from peers.hostile_answers import nested
from peers.hostile_calls import finish_any, look_up, note
from peers.hostile_model import ModelKind, Refused, Session, answer
from peers.hostile_table import Case, Provoke, Says, Seen, World
from peers.server_callers import calling
from websockets.exceptions import ConnectionClosed

PART = "model over WebSocket"
GONE = ("model_lost",)
WELL = Says(status=("completed",), said="Fine.")
EITHER = Says(end=("caller_hung_up", "model_lost"))
LOST = Says(end=GONE, close=(1011,))

Go = Callable[[Session], Awaitable[None]]


def _first(*messages: str | bytes, text: bool = True) -> Go:
    """These messages, then a good answer."""

    async def go(session: Session) -> None:
        for message in messages:
            await session.raw(message, text=text)
        await session.good()

    return go


def _events(make: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Go:
    """A good answer's events, changed."""

    async def go(session: Session) -> None:
        await session.all(make(session.response()))

    return go


def _changed(kind: str, **fields: Any) -> Go:
    """A good answer in which the events of one type have other fields."""
    return _events(lambda events: [{**event, **fields} if event["type"] == kind else event for event in events])


def _done(**fields: Any) -> Go:
    """A good answer whose end says something else."""
    return _events(lambda events: [*events[:-1], {**events[-1], "response": {**events[-1]["response"], **fields}}])


def _close(code: int, after: int = 0) -> Go:
    async def go(session: Session) -> None:
        await session.all(session.response()[:after])
        await session.socket.close(code, "bye")

    return go


async def _abort(session: Session) -> None:
    await session.all(session.response()[:6])
    session.socket.transport.abort()


async def _nothing(session: Session) -> None:
    """Never an answer."""


async def _begins_only(session: Session) -> None:
    await session.all(session.response()[:6])


async def _half_a_frame(session: Session) -> None:
    session.socket.transport.write(b"\x81\x7f" + (1 << 20).to_bytes(8, "big") + b"{")


async def _broken_frame(session: Session) -> None:
    session.socket.transport.write(b"\xff\xff\xff\xff" * 10)


def _frame(head: bytes, payload: bytes = b"") -> Go:
    async def go(session: Session) -> None:
        session.socket.transport.write(head + payload)
        await session.good()

    return go


async def _big_delta_then_silence(session: Session) -> None:
    """300 KB in one message, then nothing for a while: what has come must go on to the caller at once."""
    big = b64encode(bytes(225_000)).decode()
    events = answer("resp_big", "Fine.", 1, big)
    await session.all(events[:6])
    await asyncio.sleep(3)
    await session.all(events[6:])


async def _flood_of_deltas(session: Session) -> None:
    await session.all(session.response(deltas=6000))


async def _flood_of_unknown(session: Session) -> None:
    for _ in range(20_000):
        await session.raw('{"type":"response.weather","wind":7}')
    await session.good()


async def _flood_of_pings(session: Session) -> None:
    for _ in range(2_000):
        session.socket.transport.write(b"\x89\x04ping" * 100)
        await asyncio.sleep(0)
    await session.good()


async def _speaks_on_after_a_cancel(session: Session) -> None:
    events = session.response()
    await session.all(events[:6])
    await session.send("input_audio_buffer.speech_started", item_id="item_c", audio_start_ms=1)
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await session.cancelled.wait()
    for _ in range(50):
        await session.raw(json.dumps(events[5]))
    await session.all(events[6:])


async def _speaks_on_after_the_end(session: Session) -> None:
    events = session.response()
    await session.all(events)
    for _ in range(50):
        await session.raw(json.dumps(events[5]))
    await session.all(events[4:])


async def _call_functions(session: Session, calls: list[dict[str, Any]]) -> None:
    events = session.response()
    of = {"response_id": events[0]["response"]["id"], "output_index": 0}
    await session.all(events[:1])
    for number, call in enumerate(calls):
        item = {"id": f"item_f{number}", "type": "function_call", "status": "completed", **call}
        await session.send("response.output_item.added", **of, item=item)
        await session.send("response.output_item.done", **of, item=item)
    session.words = "after the calls"
    await session.all(events[-1:])


def _functions(*calls: dict[str, Any]) -> Go:
    async def go(session: Session) -> None:
        await _call_functions(session, list(calls))

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


def _of_type(kind: str) -> Go:
    """The type with every field missing or of an odd type, then a good answer. Fewer than ten in a row are borne."""
    messages = [{"type": kind}, *({"type": kind, **dict.fromkeys(FIELDS, value)} for value in ODD)]
    return _first(*(json.dumps(message) for message in messages))


ODD_MESSAGES: dict[str, str | bytes] = {
    "null": "null", "a list": "[]", "a number": "7", "a text": '"x"', "an empty object": "{}", "nothing": "",
    "no JSON": "{{{", "NaN": "NaN", "type null": '{"type":null}', "type a number": '{"type":7}',
    "type a list": '{"type":["error"]}', "type an object": '{"type":{}}', "type of 1 MB": '{"type":"' + "x" * 2**20 + '"}',
    "half an emoji": r'{"type":"x","\ud83d":"\ud83d"}', "200 lists deep": b'{"type":"x","a":' + nested(200) + b"}",
    "100000 lists deep": b'{"type":"x","a":' + nested(100_000) + b"}", "5 MB": '{"type":"x","a":"' + "x" * 5_000_000 + '"}',
    "5 MB in 300000 parts": b'{"type":"x","a":[' + b",".join([b'{"a":"aaaaaaa"}'] * 300_000) + b"]}",
    "a number of 100000 digits": '{"type":"x","a":' + "9" * 100_000 + "}", "a NUL": '{"type":"x","a":"\\u0000"}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"x"}',
}  # fmt: skip
CODES = ("insufficient_quota", "content_filter", "rate_limit_exceeded", "session_expired", "invalid_api_key",
         "model_not_found", "server_error", "context_length_exceeded", "", None, 7)  # fmt: skip


async def _ten_odd(session: Session) -> None:
    for _ in range(10):
        await session.raw("null")


def _opens(*messages: str) -> Go:
    async def opens(session: Session) -> None:
        for message in messages:
            await session.raw(message)
        async for _ in session.socket:
            pass

    return opens


async def _closes_at_once(session: Session) -> None:
    await session.socket.close(1011, "no")


async def _refuses_session(session: Session) -> None:
    await session.send("session.created", session={"id": "sess_1"})
    async for message in session.socket:
        event = json.loads(message)
        if event["type"] == "session.update":
            error = {"type": "invalid_request_error", "code": "invalid_value", "param": "session.tools[2].parameters"}
            await session.send("error", error={**error, "message": "no", "event_id": event.get("event_id")})


KINDS: dict[str, ModelKind] = {
    **{f"message: {kind}": ModelKind(WELL, _first(message)) for kind, message in ODD_MESSAGES.items()},
    "ten odd messages": ModelKind(WELL, _ten_odd),
    "a binary message": ModelKind(WELL, _first(b"\x00\xff", text=False)),
    "a binary message of 1 MB": ModelKind(WELL, _first(bytes(2**20), text=False)),
    "a message of 17 MB": ModelKind(WELL, _first("x" * 17 * 2**20)),
    "no UTF-8": ModelKind(WELL, _first(b'{"type":"\xff\xfe"}')),
    **{f"odd fields in {kind}": ModelKind(EITHER, _of_type(kind)) for kind in READ_TYPES},
    # ---- out of order
    "the end first": ModelKind(EITHER, _events(lambda events: events[::-1])),
    "no beginning": ModelKind(EITHER, _events(lambda events: events[1:]), slow=True, wait_s=60),
    "no item": ModelKind(EITHER, _events(lambda events: [events[0], *events[3:]])),
    "begun twice": ModelKind(WELL, _events(lambda events: [events[0], *events])),
    "ended twice": ModelKind(WELL, _events(lambda events: [*events, events[-1]])),
    "everything twice": ModelKind(EITHER, _events(lambda events: [event for event in events for _ in (1, 2)])),
    "the item twice": ModelKind(WELL, _events(lambda events: [*events[:2], events[1], *events[2:]])),
    "an answer nobody asked for": ModelKind(WELL, _events(lambda events: [*answer("resp_more", "More.", 1), *events])),
    "an end of another": ModelKind(WELL, _events(lambda e: [{**e[-1], "response": {"id": "x", "status": "failed"}}, *e])),
    "sound of an unknown item": ModelKind(EITHER, _changed("response.output_audio.delta", item_id="item_unknown")),
    "sound of an unknown response": ModelKind(EITHER, _changed("response.output_audio.delta", response_id="resp_no")),
    "sound that is no base64": ModelKind(EITHER, _changed("response.output_audio.delta", delta="!!!")),
    "half samples": ModelKind(EITHER, _changed("response.output_audio.delta", delta="AAAA" * 100)),
    "empty sound": ModelKind(EITHER, _changed("response.output_audio.delta", delta="")),
    "words of 5 MB": ModelKind(EITHER, _changed("response.output_audio_transcript.delta", delta="word " * 1_000_000)),
    "half an emoji in words": ModelKind(EITHER, _changed("response.output_audio_transcript.delta", delta="\ud83d")),
    "an index past any number": ModelKind(EITHER, _changed("response.output_audio.delta", output_index=10**30)),
    "sound after a cancel": ModelKind(EITHER, _speaks_on_after_a_cancel),
    "sound after the end": ModelKind(WELL, _speaks_on_after_the_end),
    "300 KB, then silence": ModelKind(WELL, _big_delta_then_silence),
    "ten minutes at once": ModelKind(EITHER, _flood_of_deltas),
    "a flood of unknown events": ModelKind(EITHER, _flood_of_unknown),
    "a flood of pings": ModelKind(EITHER, _flood_of_pings),
    # ---- calls of functions that nobody has
    "an unknown function": ModelKind(EITHER, _functions(BOOK)),
    "a function without id": ModelKind(EITHER, _functions({"name": "book", "arguments": "{}"})),
    "a function with 5 MB of arguments": ModelKind(EITHER, _functions({**BOOK, "arguments": "[" * 5_000_000})),
    "a function with an object as arguments": ModelKind(EITHER, _functions({**BOOK, "arguments": {"a": 1}})),
    "a function with half an emoji": ModelKind(EITHER, _functions({**BOOK, "name": "\ud83d", "arguments": "\ud83d"})),
    "a function called twice by one id": ModelKind(EITHER, _functions(BOOK, BOOK)),
    "500 functions": ModelKind(EITHER, _functions(*({**BOOK, "call_id": f"call_{n}"} for n in range(500)))),
    # ---- ends
    **{f"status {json.dumps(value)}": ModelKind(EITHER, _done(status=value)) for value in ("what", None, 7, {})},
    **{f"details {json.dumps(value)}": ModelKind(EITHER, _done(status="failed", status_details=value))
       for value in ([], "x", 7, {"error": []}, {"error": {"code": 7}}, {"reason": {}})},
    **{f"usage {json.dumps(value)}": ModelKind(WELL, _done(usage=value))
       for value in ([], 7, {"input_token_details": 7}, {"input_token_details": {"text_tokens": -1}},
                     {"output_token_details": {"audio_tokens": 10**30}})},
    **{f"output {json.dumps(value)}": ModelKind(EITHER, _done(output=value)) for value in (None, 7, [None], {"a": 1})},
    **{f"fails with {json.dumps(code)}":
       ModelKind(EITHER, _done(status="failed", status_details={"type": "failed", "error": {"type": code, "code": code}}))
       for code in CODES},
    **{f"refuses with {json.dumps(code)}":
       ModelKind(EITHER, _first(json.dumps({"type": "error", "error": {"type": code, "code": code, "message": "no"}})))
       for code in CODES},
    **{f"closes with {code}": ModelKind(EITHER, _close(code)) for code in (1000, 1001, 1008, 1011, 3000, 4000, 4999)},
    **{f"closes in mid answer with {code}": ModelKind(EITHER, _close(code, 6)) for code in (1000, 1008, 1011)},
    "a cut in mid answer": ModelKind(EITHER, _abort),
    "a broken frame": ModelKind(WELL, _broken_frame),
    "a reserved bit": ModelKind(EITHER, _frame(b"\xc1\x02{}")),
    "a masked frame": ModelKind(EITHER, _frame(b"\x81\x82\x00\x00\x00\x00{}")),
    "a close frame with one byte": ModelKind(EITHER, _frame(b"\x88\x01\x03")),
    "a close frame with code 5": ModelKind(EITHER, _frame(b"\x88\x02\x00\x05")),
    "a ping of 200 bytes": ModelKind(EITHER, _frame(b"\x89\x7e\x00\xc8", bytes(200))),
    "never an answer": ModelKind(EITHER, _nothing, slow=True, wait_s=75),
    "half a frame": ModelKind(EITHER, _half_a_frame, slow=True, wait_s=75),
    "an answer that stops": ModelKind(EITHER, _begins_only, slow=True, wait_s=75),
    # ---- never open
    **{f"HTTP {status}": ModelKind(EITHER, refuses=Refused(status, body), always=True)
       for status, body in ((301, b""), (400, b"null"), (401, b"[]"), (403, b"{"), (404, b"<html>"), (429, b'{"error":7}'),
                            (500, b"x" * 200_000), (503, b""), (200, b"hello"))},
    "closes at once": ModelKind(LOST, opens=_closes_at_once, always=True),
    "opens with null": ModelKind(LOST, opens=_opens("null"), always=True, slow=True, wait_s=40),
    "opens with an error": ModelKind(LOST, opens=_opens('{"type":"error","error":null}'), always=True, slow=True, wait_s=40),
    "opens with an odd session": ModelKind(EITHER, opens=_opens('{"type":"session.updated","session":7}'), always=True,
                                           slow=True, wait_s=75),
    "never opens": ModelKind(LOST, opens=_opens(), always=True, slow=True, wait_s=40),
    "refuses the session": ModelKind(LOST, opens=_refuses_session, always=True),
}  # fmt: skip


def _talk(agent: str) -> Provoke:
    """A call with a good answer, then the provoked one, then another good one."""

    async def provoke(world: World, case: Case) -> Seen:
        seen = Seen()
        async with calling(world.server, agent) as caller:
            seen.session_id = caller.session_id
            with suppress(ConnectionClosed):
                await caller.say("ping")
                await finish_any(caller, case.wait_s)
                await caller.say("go now")
                await finish_any(caller, case.wait_s)
                await caller.say("ping again")
                await finish_any(caller, case.wait_s)
                seen.answered_again = True
            note(seen, caller)
        return await look_up(world, seen)

    return provoke


CASES = [
    Case(PART, kind, _talk(f"model-{number}"), made.says, made.slow, made.wait_s)
    for number, (kind, made) in enumerate(KINDS.items())
]
