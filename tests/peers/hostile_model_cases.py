"""The hostile models in the sweep's table: what each does when a caller says `go now`, and what the call must show."""

from __future__ import annotations

import json
from contextlib import suppress

from peers import hostile_model_acts as acts
from peers.hostile_calls import finish_any, look_up, note
from peers.hostile_model import ModelKind, Refused, answer
from peers.hostile_table import Case, Provoke, Says, Seen, World
from peers.server_callers import calling
from websockets.exceptions import ConnectionClosed

PART = "model over WebSocket"
GONE = ("model_lost",)
WELL = Says(status=("completed",), said="Fine.")
EITHER = Says(end=("caller_hung_up", "model_lost"))
LOST = Says(end=GONE, close=(1011,))


KINDS: dict[str, ModelKind] = {
    **{f"message: {kind}": ModelKind(WELL, acts.first(message)) for kind, message in acts.ODD_MESSAGES.items()},
    "ten odd messages": ModelKind(WELL, acts.ten_odd),
    "a binary message": ModelKind(WELL, acts.first(b"\x00\xff", text=False)),
    "a binary message of 1 MB": ModelKind(WELL, acts.first(bytes(2**20), text=False)),
    "a message of 17 MB": ModelKind(WELL, acts.first("x" * 17 * 2**20)),
    "no UTF-8": ModelKind(WELL, acts.first(b'{"type":"\xff\xfe"}')),
    **{f"odd fields in {kind}": ModelKind(EITHER, acts.of_type(kind)) for kind in acts.READ_TYPES},
    # ---- out of order
    "the end first": ModelKind(EITHER, acts.events(lambda events: events[::-1])),
    "no beginning": ModelKind(EITHER, acts.events(lambda events: events[1:]), slow=True, wait_s=60),
    "no item": ModelKind(EITHER, acts.events(lambda events: [events[0], *events[3:]])),
    "begun twice": ModelKind(WELL, acts.events(lambda events: [events[0], *events])),
    "ended twice": ModelKind(WELL, acts.events(lambda events: [*events, events[-1]])),
    "everything twice": ModelKind(EITHER, acts.events(lambda events: [event for event in events for _ in (1, 2)])),
    "the item twice": ModelKind(WELL, acts.events(lambda events: [*events[:2], events[1], *events[2:]])),
    "an answer nobody asked for": ModelKind(
        WELL, acts.events(lambda events: [*answer("resp_more", "More.", 1), *events])
    ),
    "an end of another": ModelKind(
        WELL, acts.events(lambda e: [{**e[-1], "response": {"id": "x", "status": "failed"}}, *e])
    ),
    "sound of an unknown item": ModelKind(EITHER, acts.changed("response.output_audio.delta", item_id="item_unknown")),
    "sound of an unknown response": ModelKind(
        EITHER, acts.changed("response.output_audio.delta", response_id="resp_no")
    ),
    "sound that is no base64": ModelKind(EITHER, acts.changed("response.output_audio.delta", delta="!!!")),
    "half samples": ModelKind(EITHER, acts.changed("response.output_audio.delta", delta="AAAA" * 100)),
    "empty sound": ModelKind(EITHER, acts.changed("response.output_audio.delta", delta="")),
    "words of 5 MB": ModelKind(
        EITHER, acts.changed("response.output_audio_transcript.delta", delta="word " * 1_000_000)
    ),
    "half an emoji in words": ModelKind(EITHER, acts.changed("response.output_audio_transcript.delta", delta="\ud83d")),
    "an index past any number": ModelKind(EITHER, acts.changed("response.output_audio.delta", output_index=10**30)),
    "sound after a cancel": ModelKind(EITHER, acts.speaks_on_after_a_cancel),
    "sound after the end": ModelKind(WELL, acts.speaks_on_after_the_end),
    "300 KB, then silence": ModelKind(WELL, acts.big_delta_then_silence),
    "ten minutes at once": ModelKind(EITHER, acts.flood_of_deltas),
    "a flood of unknown events": ModelKind(EITHER, acts.flood_of_unknown),
    "a flood of pings": ModelKind(EITHER, acts.flood_of_pings),
    # ---- calls of functions that do not exist
    "an unknown function": ModelKind(EITHER, acts.functions(acts.BOOK)),
    "a function without id": ModelKind(EITHER, acts.functions({"name": "book", "arguments": "{}"})),
    "a function with 5 MB of arguments": ModelKind(EITHER, acts.functions({**acts.BOOK, "arguments": "[" * 5_000_000})),
    "a function with an object as arguments": ModelKind(EITHER, acts.functions({**acts.BOOK, "arguments": {"a": 1}})),
    "a function with half an emoji": ModelKind(
        EITHER, acts.functions({**acts.BOOK, "name": "\ud83d", "arguments": "\ud83d"})
    ),
    "a function called twice by one id": ModelKind(EITHER, acts.functions(acts.BOOK, acts.BOOK)),
    "500 functions": ModelKind(EITHER, acts.functions(*({**acts.BOOK, "call_id": f"call_{n}"} for n in range(500)))),
    # ---- ends
    **{f"status {json.dumps(value)}": ModelKind(EITHER, acts.done(status=value)) for value in ("what", None, 7, {})},
    **{
        f"details {json.dumps(value)}": ModelKind(EITHER, acts.done(status="failed", status_details=value))
        for value in ([], "x", 7, {"error": []}, {"error": {"code": 7}}, {"reason": {}})
    },
    **{
        f"usage {json.dumps(value)}": ModelKind(WELL, acts.done(usage=value))
        for value in (
            [],
            7,
            {"input_token_details": 7},
            {"input_token_details": {"text_tokens": -1}},
            {"output_token_details": {"audio_tokens": 10**30}},
        )
    },
    **{
        f"output {json.dumps(value)}": ModelKind(EITHER, acts.done(output=value))
        for value in (None, 7, [None], {"a": 1})
    },
    **{
        f"fails with {json.dumps(code)}": ModelKind(
            EITHER, acts.done(status="failed", status_details={"type": "failed", "error": {"type": code, "code": code}})
        )
        for code in acts.CODES
    },
    **{
        f"refuses with {json.dumps(code)}": ModelKind(
            EITHER, acts.first(json.dumps({"type": "error", "error": {"type": code, "code": code, "message": "no"}}))
        )
        for code in acts.CODES
    },
    **{
        f"closes with {code}": ModelKind(EITHER, acts.close(code))
        for code in (1000, 1001, 1008, 1011, 3000, 4000, 4999)
    },
    **{f"closes in mid answer with {code}": ModelKind(EITHER, acts.close(code, 6)) for code in (1000, 1008, 1011)},
    "a cut in mid answer": ModelKind(EITHER, acts.abort),
    "a broken frame": ModelKind(WELL, acts.broken_frame),
    "a reserved bit": ModelKind(EITHER, acts.frame(b"\xc1\x02{}")),
    "a masked frame": ModelKind(EITHER, acts.frame(b"\x81\x82\x00\x00\x00\x00{}")),
    "a close frame with one byte": ModelKind(EITHER, acts.frame(b"\x88\x01\x03")),
    "a close frame with code 5": ModelKind(EITHER, acts.frame(b"\x88\x02\x00\x05")),
    "a ping of 200 bytes": ModelKind(EITHER, acts.frame(b"\x89\x7e\x00\xc8", bytes(200))),
    "never an answer": ModelKind(EITHER, acts.nothing, slow=True, wait_s=75),
    "half a frame": ModelKind(EITHER, acts.half_a_frame, slow=True, wait_s=75),
    "an answer that stops": ModelKind(EITHER, acts.begins_only, slow=True, wait_s=75),
    # ---- sessions that never open
    **{
        f"HTTP {status}": ModelKind(EITHER, refuses=Refused(status, body), always=True)
        for status, body in (
            (301, b""),
            (400, b"null"),
            (401, b"[]"),
            (403, b"{"),
            (404, b"<html>"),
            (429, b'{"error":7}'),
            (500, b"x" * 200_000),
            (503, b""),
            (200, b"hello"),
        )
    },
    "closes at once": ModelKind(LOST, opens=acts.closes_at_once, always=True),
    "opens with null": ModelKind(LOST, opens=acts.opens("null"), always=True, slow=True, wait_s=40),
    "opens with an error": ModelKind(
        LOST, opens=acts.opens('{"type":"error","error":null}'), always=True, slow=True, wait_s=40
    ),
    "opens with an odd session": ModelKind(
        EITHER, opens=acts.opens('{"type":"session.updated","session":7}'), always=True, slow=True, wait_s=75
    ),
    "never opens": ModelKind(LOST, opens=acts.opens(), always=True, slow=True, wait_s=40),
    "refuses the session": ModelKind(LOST, opens=acts.refuses_session, always=True),
}


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
