"""The media sockets that Asterisk dials: who is let in, and a call on such a socket."""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import UUID

import pytest
from support.calls.asterisk_desk import START, AsteriskDesk, media_request, with_asterisk
from support.calls.call_rig import later
from support.calls.interruptions import recorded_greeting

from gateway.auth.requests import Fields, Refusal
from gateway.callers.asterisk.ws_open import LIMITS, NO_CALL
from sessions.record import Heard

FRAME = b"\x20" * 160  # loud, in mu-law
PLAIN_START = b"MEDIA_START channel_id:C format:ulaw optimal_frame_size:160 ptime:20"
SILENT = {"event": "STATUS", "channel_id": "C", "queue_length": 0}


@pytest.mark.parametrize(
    ("call", "headers", "expected"),
    [
        ("right", {"authorization": "Basic eDp5"}, (401, "invalid_credentials")),
        ("right", {"authorization": "Bearer eDp5"}, (401, "missing_credentials")),
        ("right", {"origin": "https://evil.example"}, (403, "origin_not_allowed")),
        ("right", {"host": "evil.example"}, (403, "host_not_allowed")),
        (str(UUID(int=7)), {}, (404, "call_not_found")),
        ("nonsense", {}, (404, "call_not_found")),
        ("", {}, (404, "call_not_found")),
        (None, {}, (404, "call_not_found")),
    ],
)
def test_a_refusal_opens_nothing_and_leaves_the_call_for_the_right_socket(
    tmp_path: Path, call: str | None, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async def main(desk: AsteriskDesk) -> None:
        registered = await desk.register()
        named = str(registered.call_id)
        refusal = await desk.sockets.admit(media_request(named if call == "right" else call, **headers))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.code) == expected
        assert desk.sockets.counts == {f"refused_{expected[1]}": 1}
        assert (desk.live, desk.gateway.admission.model_legs_opened) == (0, 0)
        assert await desk.sockets.admit(media_request(named)) is registered

    with_asterisk(tmp_path, main)


def test_a_call_is_taken_once(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        request = media_request(str((await desk.register()).call_id))
        admitted = await desk.sockets.admit(request)
        assert not isinstance(admitted, Refusal)
        assert await desk.sockets.admit(request) is NO_CALL
        assert not await desk.has_room()
        desk.sockets.release(admitted)
        assert await desk.has_room()
        assert desk.sockets.counts == {"refused_call_not_found": 1, "closed": 1}

    with_asterisk(tmp_path, main)


def test_a_socket_that_names_two_calls_is_refused(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        named = str((await desk.register()).call_id)
        request = media_request(named)
        object.__setattr__(request, "query", Fields([("call", named), ("call", named)]))
        assert await desk.sockets.admit(request) is NO_CALL

    with_asterisk(tmp_path, main)


def test_a_call_of_another_tenant_is_refused_and_gives_its_place_back(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        registered = await desk.register(tenant="other")
        assert await desk.sockets.admit(media_request(str(registered.call_id))) is NO_CALL
        assert await desk.has_room()

    with_asterisk(tmp_path, main)


def test_a_call_over_such_a_socket_is_greeted_answered_and_interrupted(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        call, socket = await desk.opened()
        assert socket.sent == []
        assert desk.live == 0
        socket.says(START)
        await later(0.5)
        assert {"command": "MARK_MEDIA", "correlation_id": "0-1"} in socket.told
        assert all(len(message) % 160 == 0 for kind, message in socket.sent if kind == "binary")
        for _ in range(50):
            await later(0.02)
            socket.speaks(FRAME)
        flush = socket.told.index({"command": "FLUSH_MEDIA"})
        assert socket.told[flush - 1] == {"command": "GET_STATUS"}
        before = len(socket.sound)
        await later(3)
        assert len(socket.sound) > before
        socket.goes(1000)
        record = await desk.record(call)
        assert record.summary.end_reason == "caller_hung_up"
        assert (record.protocol, record.caller.number) == ("asterisk", "+4930111")

    with_asterisk(tmp_path, main)


@pytest.mark.parametrize(
    ("start", "flush", "status"),
    [
        (START, b'{"command":"FLUSH_MEDIA"}', {**SILENT, "queue_length": 3}),
        (PLAIN_START, b"FLUSH_MEDIA", b"STATUS channel_id:C queue_length:3 xon_level:800 media_paused:false"),
    ],
)
def test_what_the_channel_drops_at_an_interruption_was_not_heard(
    tmp_path: Path, start: object, flush: bytes, status: object
) -> None:
    async def main(desk: AsteriskDesk) -> None:
        call, socket = await desk.opened()
        socket.says(start)
        await later(0.5)
        for _ in range(50):
            if ("text", flush) in socket.sent:
                break
            socket.speaks(FRAME)
            await later(0.02)
        left_ms = len(socket.sound) // 8
        assert left_ms > 500
        await later(0.1)
        socket.says(status)
        socket.says(status)  # nobody has asked for this one
        await later(0.1)
        socket.goes(1000)
        greeting = await recorded_greeting(desk.gateway, call.ticket.session_id)
        assert (greeting.heard_ms, greeting.heard) == (left_ms - 60, Heard.REPORTED)

    with_asterisk(tmp_path, main)


def test_no_more_than_200_ms_of_sound_are_ahead_of_the_ear(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        _, socket = await desk.opened()
        socket.says(START)
        await later(2)
        first_ms, sent_ms = None, 0
        for at_ms, (kind, message) in zip(socket.at_ms, socket.sent, strict=True):
            if kind == "binary":
                first_ms = at_ms if first_ms is None else first_ms
                sent_ms += len(message) // 8
                assert sent_ms - (at_ms - first_ms) <= 200
        assert sent_ms > 1_000
        socket.goes()
        await desk.gateway.live_calls.wait_empty()

    with_asterisk(tmp_path, main)


def test_keys_are_told_and_the_agent_hangs_the_channel_up(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        call, socket = await desk.opened()
        socket.says(START)
        await later(4)
        socket.says({"event": "DTMF_END", "channel_id": "C", "digit": "0"})
        await later(10)
        assert socket.told[-1] == {"command": "HANGUP"}
        assert socket.closed_with == (1000, "")
        assert (await desk.record(call)).summary.end_reason == "agent_hung_up"

    with_asterisk(tmp_path, main)


def test_sound_before_the_first_message_is_kept_for_a_second(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        call, socket = await desk.opened()
        for _ in range(10):
            socket.speaks(FRAME)
        socket.says(START)
        socket.goes()
        assert (await desk.record(call)).summary.caller_audio_ms == 200

    with_asterisk(tmp_path, main)


def test_sound_of_a_format_that_is_not_spoken_here_ends_the_socket_and_dials_nothing(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        _, socket = await desk.opened()
        socket.says({**START, "format": "opus", "optimal_frame_size": 0})
        assert socket.closed_with is not None
        assert socket.closed_with[0] == 1008
        assert desk.gateway.admission.model_legs_opened == 0
        assert await desk.has_room()

    with_asterisk(tmp_path, main)


def test_a_channel_that_has_answered_and_falls_silent_is_given_up_within_a_minute(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        _, socket = await desk.opened()
        socket.says(START)
        await later(20.5)
        assert socket.told[-1] == {"command": "GET_STATUS"}
        socket.says(SILENT)
        await later(59)
        assert desk.live == 1
        await later(1)
        assert desk.live == 0
        assert socket.closed_with == (1000, "the channel no longer answers")

    with_asterisk(tmp_path, main)


def test_a_full_channel_is_left_in_peace_until_it_has_room(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        _, socket = await desk.opened()
        socket.says(START)
        await later(0.3)
        socket.says({"event": "MEDIA_XOFF", "channel_id": "C"})
        before = len(socket.sound)
        await later(1)
        assert len(socket.sound) == before
        socket.says({"event": "MEDIA_XON", "channel_id": "C"})
        await later(1)
        assert len(socket.sound) > before
        socket.goes()
        await desk.gateway.live_calls.wait_empty()

    with_asterisk(tmp_path, main)


def test_no_log_line_holds_a_number_or_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(desk: AsteriskDesk) -> None:
        _, socket = await desk.opened()
        socket.says({**START, "format": "+4930111"})
        await desk.sockets.admit(media_request(None, password="+4930111"))

    caplog.set_level(logging.DEBUG)
    with_asterisk(tmp_path, main)
    assert "4930111" not in caplog.text
    assert "harbour-password" not in caplog.text


def test_older_releases_hang_up_on_pings_so_there_are_none() -> None:
    assert LIMITS.ping_idle_s is None
