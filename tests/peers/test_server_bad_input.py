"""Invalid input over the socket: a typed error that names the field, or a fitting close code; the session continues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import Caller, calling, run, soon
from peers.server_files import SECRETS
from peers.server_process import Server, serving
from peers.socket_harness import Raw, frame, upgrade_head

pytestmark = pytest.mark.sockets

MIB = 1 << 20
TRUNCATE = '{"type":"conversation.item.truncate","item_id":"nope","content_index":0,"audio_end_ms":%s}'
SPEED = '{"type":"session.update","session":{"type":"realtime","audio":{"output":{"speed":%s}}}}'
TEXT = {"type": "input_text", "text": "xylophone"}


def update(event_id: str | None = None, **session: Any) -> str:
    named = {} if event_id is None else {"event_id": event_id}
    return json.dumps({"type": "session.update", **named, "session": {"type": "realtime", **session}})


def item(**fields: Any) -> str:
    return json.dumps({"type": "conversation.item.create", "event_id": "mine", "item": fields})


def append(audio: Any, **fields: Any) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **fields})


# What is sent; then the code, the field and the event's id in the answer.
MALFORMED: list[tuple[str | bytes, str, str | None, str | None]] = [
    ('{"type": "response.create"', "invalid_json", None, None),
    ("", "invalid_json", None, None),
    ("[]", "invalid_event", None, None),
    ('"xylophone"', "invalid_event", None, None),
    ("{}", "invalid_event", "type", None),
    ('{"type": 5}', "invalid_event", "type", None),
    (b"\x00\x01 xylophone", "invalid_event", None, None),
    ('{"type":"response\x00.create"}', "invalid_json", None, None),
    ('{"type":"x","a":' + "[" * 100_000 + "]" * 100_000 + "}", "invalid_event", None, None),
    ('{"type":"x","a":' + "[" * 5_000 + "]" * 5_000 + "}", "invalid_json", None, None),
    ('{"type":"x","a":' + '{"a":' * 500 + "1" + "}" * 501, "invalid_event", None, None),
    (append("####"), "invalid_value", "audio", None),
    ('{"type":"input_audio_buffer.append","audio":"A"}', "invalid_value", "audio", None),
    (append("AAAA", event_id="mine"), "invalid_value", "audio", "mine"),
    (append(None), "invalid_type", "audio", None),
    (append("AAAAAAAA")[:-1] + ',"audio":"AAAA"}', "invalid_event", "audio", None),
    ('{"type":"session.update","type":"input_audio_buffer.append","audio":"AAAAAAAA"}', "invalid_event", "type", None),
    ('{"type":"session.update","session":{"instructions":"marmalade"},"type":"x"}', "invalid_event", "type", None),
    (
        update("mine", audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}}),
        "invalid_value",
        "session.audio.input.format.rate",
        "mine",
    ),
    (update(audio={"input": {"turn_detection": {"type": "esp"}}}), "invalid_value", None, None),
    (update(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name", None),
    (update(tools=[{"type": "function", "name": "look_up"}]), "invalid_value", "session.tools[0].name", None),
    (update(voice="marin"), "unknown_parameter", "session.voice", None),
    ('{"type":"session.update"}', "missing_required_parameter", "session", None),
    (SPEED % "NaN", "invalid_json", None, None),
    (SPEED % "1e999", "invalid_json", None, None),
    (SPEED % "7", "invalid_value", "session.audio.output.speed", None),
    (TRUNCATE % ("9" * 30), "invalid_type", "audio_end_ms", None),
    (TRUNCATE % "9223372036854775807", "invalid_value", "audio_end_ms", None),
    (TRUNCATE % "-1", "invalid_value", "audio_end_ms", None),
    (TRUNCATE % "1.5", "invalid_type", "audio_end_ms", None),
    ('{"type":"conversation.item.delete","item_id":"%s"}' % ("x" * 100_000), "invalid_value", "item_id", None),
    ('{"type":"response.cancel","event_id":"%s"}' % ("x" * 100_000), "invalid_value", "event_id", None),
    (item(), "missing_required_parameter", "item.type", "mine"),
    (item(type="message", role="emperor", content=[TEXT]), "invalid_value", "item.role", "mine"),
    (item(type="message", role="user", content=[{"type": "input_text"}]), "missing_required_parameter", None, "mine"),
    (
        item(type="message", role="user", content=[{"type": "input_image", "image_url": "data:image/png;base64,@"}]),
        "invalid_value",
        "item.content[0].image_url",
        "mine",
    ),
    (
        '{"type":"response.create","event_id":"mine","response":{"output_modalities":["smell"]}}',
        "invalid_value",
        "response.output_modalities",
        "mine",
    ),
]

# Well-formed, but at the wrong moment: the answer is the protocol's own error, and does not count as a fault.
MISPLACED: list[tuple[str, str, str | None]] = [
    ('{"type":"response.cancel","event_id":"mine"}', "response_cancel_not_active", None),
    ('{"type":"response.cancel","response_id":"no","event_id":"mine"}', "response_cancel_not_active", None),
    (TRUNCATE[:-1] % "10" + ',"event_id":"mine"}', "item_truncate_invalid_item_id", "item_id"),
    (
        '{"type":"conversation.item.delete","item_id":"no","event_id":"mine"}',
        "item_delete_invalid_item_id",
        "item_id",
    ),
    (
        '{"type":"conversation.item.retrieve","item_id":"no","event_id":"mine"}',
        "item_retrieve_invalid_item_id",
        "item_id",
    ),
    ('{"type":"input_audio_buffer.commit","event_id":"mine"}', "input_audio_buffer_commit_empty", None),
    (update("mine", audio={"output": {"voice": "cedar"}}), "cannot_update_voice", "session.audio.output.voice"),
    ('{"type":"frobnicate","event_id":"mine"}', "invalid_value", "type"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("nonsense")) as running:
        yield running
        log = running.log()
        for word in (*SECRETS, "Traceback"):
            assert word not in log


async def _answered(caller: Caller, sent: str | bytes) -> dict[str, Any]:
    """The error for a message. A valid message follows it, so that faults do not add up."""
    await caller.socket.send(sent)
    problem = await caller.problem()
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    return problem


def test_malformed_messages_are_answered_and_the_session_continues(server: Server) -> None:
    async def main() -> None:
        async with calling(server) as caller:
            for sent, code, param, event_id in MALFORMED:
                problem = await _answered(caller, sent)
                assert problem["type"] == "invalid_request_error"
                assert (problem["code"], problem["event_id"]) == (code, event_id), sent[:200]
                assert param is None or problem["param"] == param, sent[:200]
                assert len(json.dumps(problem)) < 1000
            assert (await caller.turn("ping"))["response"]["status"] == "completed"
        session_id = caller.session_id
        await soon(lambda: server.session(session_id)["end_reason"] == "caller_hung_up", "not ended")

    run(main)


def test_messages_at_the_wrong_moment_are_answered_and_do_not_count_as_faults(server: Server) -> None:
    async def main() -> None:
        async with calling(server) as caller:
            await caller.turn("ping")
            for sent, code, param in MISPLACED * 3:
                await caller.socket.send(sent)
                problem = await caller.problem()
                assert (problem["code"], problem["param"], problem["event_id"]) == (code, param, "mine")
            assert (await caller.turn("ping"))["response"]["status"] == "completed"

    run(main)


def test_a_client_may_use_ids_like_the_gateways_own(server: Server) -> None:
    async def main() -> None:
        async with calling(server) as caller:
            await caller.turn("ping")
            for sent, code, _ in MISPLACED:
                await caller.socket.send(sent.replace('"mine"', '"pb_mine"'))
                problem = await caller.problem()
                assert (problem["code"], problem["event_id"]) == (code, "pb_mine")
            await caller.socket.send(item(id="pb_item", type="message", role="user", content=[TEXT]))
            assert (await caller.until("conversation.item.done"))["item"]["id"] == "pb_item"
            for wish, answer in (("retrieve", "retrieved"), ("delete", "deleted")):
                await caller.send(f"conversation.item.{wish}", item_id="pb_item")
                await caller.until(f"conversation.item.{answer}")

    run(main)


def test_ten_faults_in_a_row_end_the_call_and_the_record_says_why(server: Server) -> None:
    async def main() -> str:
        async with calling(server) as caller:
            await caller.turn("ping")
            for sent in ("{", b"\x00", append("AAAA"), '{"type":"frobnicate"}', update(voice="x")) * 2:
                await caller.socket.send(sent)
            assert await caller.close_code() == 1008
            # The two of an unknown type are answered by the model, which may come after the connection is closed.
            assert sum(event["type"] == "error" for event in caller.events) >= 8
            return caller.session_id

    session_id = run(main)
    run(lambda: soon(lambda: server.session(session_id)["state"] == "ended", "not ended"))
    assert server.session(session_id)["end_reason"] == "bad_input"
    assert len(server.turns(session_id)) == 1


def test_nine_faults_and_a_valid_message_do_not_end_the_call(server: Server) -> None:
    async def main() -> None:
        async with calling(server) as caller:
            for good in (append("AAAAAAAA"), update(), '{"type":"input_audio_buffer.clear"}') * 2:
                for number in range(9):
                    await caller.socket.send("{" if number % 2 else update(voice="x"))
                    await caller.problem()
                await caller.socket.send(good)
            assert (await caller.turn("ping"))["response"]["status"] == "completed"

    run(main)


def test_odd_text_is_accepted_as_text(server: Server) -> None:
    async def main() -> str:
        async with calling(server) as caller:
            await caller.turn("ping \u0000 \u2028 \U0001f600 " + "\u0301" * 1000)
            return caller.session_id

    session_id = run(main)
    assert server.ended(session_id)["summary"]["turns"] == 1
    assert server.turns(session_id)[0]["entries"][0]["text"].startswith("ping \u0000 \u2028 \U0001f600 ")


# ---- frames


async def _raw(server: Server) -> Raw:
    raw = await Raw.connect(server.port)
    status, _ = await raw.ask(upgrade_head("/v1/realtime?model=desk"))
    assert status == 101
    return raw


async def _session_id(raw: Raw) -> str:
    """The call's id, from its first event."""
    _, created = await raw.next_frame()
    session_id: str = json.loads(created)["session"]["id"]
    return session_id


def _closes_with(server: Server, code: int, *frames: bytes) -> None:
    async def main() -> str:
        raw = await _raw(server)
        session_id = await _session_id(raw)
        raw.send(*frames)
        assert await raw.close_code() == code
        raw.writer.transport.abort()
        await soon(lambda: server.figure("live_calls") == 0, "the call goes on")
        return session_id

    assert server.ended(run(main))["end_reason"] == "bad_input", frames


def test_frames_that_violate_the_protocol(server: Server) -> None:
    _closes_with(server, 1007, frame(1, b'{"type": "\xff"}'))
    _closes_with(server, 1007, frame(1, b'{"type": "\xed\xa0\x80"}'))
    _closes_with(server, 1007, frame(1, b'{"a": "\xc3', fin=False), frame(0, b'"}'))
    _closes_with(server, 1002, frame(0, b"never begun"))
    _closes_with(server, 1002, frame(1, b"{}", reserved=4))
    _closes_with(server, 1002, frame(1, b"{}", fin=False), frame(1, b"{}"))
    _closes_with(server, 1002, frame(8, b"\x03\xec"))
    _closes_with(server, 1002, frame(3, b"an opcode of nobody's"))


@pytest.mark.parametrize("code", [1002, 1007, 1009, 1013])
def test_a_client_that_closes_with_a_valid_code_has_hung_up(server: Server, code: int) -> None:
    async def main() -> str:
        raw = await _raw(server)
        session_id = await _session_id(raw)
        raw.send(frame(8, code.to_bytes(2, "big")))
        assert await raw.close_code() == code
        raw.writer.transport.abort()
        return session_id

    assert server.ended(run(main))["end_reason"] == "caller_hung_up"


def test_a_message_in_fragments_is_one_message(server: Server) -> None:
    async def main() -> None:
        raw = await _raw(server)
        text = b'{"type":"input_audio_buffer.append","audio":"\xc3\xa9"}'
        raw.send(frame(1, text[:1], fin=False), *(frame(0, text[at : at + 1], fin=False) for at in range(1, len(text))))
        raw.send(frame(9, b"ping"), frame(0, b""))
        problem: dict[str, Any] = {}
        pongs = 0
        while not problem:
            opcode, payload = await raw.next_frame()
            pongs += opcode == 10
            problem = json.loads(payload).get("error", {}) if opcode == 1 else {}
        assert (problem["param"], pongs) == ("audio", 1)
        raw.writer.transport.abort()

    run(main)


def _flood(server: Server, frames: Iterator[bytes], *, room_bytes: int) -> None:
    """Send frames until the server closes with 1009. Its memory must not grow by more than `room_bytes`."""

    async def main() -> str:
        raw = await _raw(server)
        session_id = await _session_id(raw)
        before = server.rss_bytes()
        reading = asyncio.get_running_loop().create_task(raw.close_code())
        highest, sent = before, 0
        try:
            for piece in frames:
                raw.writer.write(piece)
                await raw.writer.drain()
                sent += len(piece)
                highest = max(highest, server.rss_bytes())
                if reading.done():
                    break
        except ConnectionError:
            pass
        assert await reading == 1009
        assert highest - before < room_bytes
        assert sent < 64 * MIB
        raw.writer.transport.abort()
        await soon(lambda: server.figure("live_calls") == 0, "the call goes on")
        return session_id

    assert server.ended(run(main))["end_reason"] == "bad_input"


def test_a_message_past_the_bound_is_refused_before_it_is_read(server: Server) -> None:
    head = b"\x81\xff" + (17 * MIB).to_bytes(8, "big") + b"\x00\x00\x00\x00"
    _flood(server, iter([head, *[b"x" * MIB] * 100]), room_bytes=4 * MIB)


def test_the_fragments_of_a_message_are_counted_together(server: Server) -> None:
    first = b"\x01\xff" + MIB.to_bytes(8, "big") + b"\x00\x00\x00\x00" + b"x" * MIB
    more = b"\x00" + first[1:]
    _flood(server, iter([first, *[more] * 100]), room_bytes=40 * MIB)


def _takes(server: Server, sound_bytes: int) -> None:
    async def main() -> None:
        async with calling(server) as caller:
            await caller.socket.send(append("AAAA" * (sound_bytes // 4)))
            assert (await caller.turn("ping"))["response"]["status"] == "completed"

    run(main)


def test_three_mib_of_sound_are_accepted(server: Server) -> None:
    _takes(server, 3 * MIB)


def test_fourteen_mib_of_sound_are_accepted_where_the_setting_allows_it(tmp_path: Path) -> None:
    with serving(tmp_path, PATCHBAY_MAX_MESSAGE_BYTES=str(16 * MIB)) as server:
        _takes(server, 14 * MIB)
