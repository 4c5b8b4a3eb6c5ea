"""AudioSocket calls over connections in memory: the UUID, the format, silence from the first moment on, the ends."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from support.calls.audiosocket_desk import CALLED, CALLER, Asterisk, Desk, frame, with_desk
from support.calls.call_rig import later

from audio.formats import PCM16_8K, PCM16_16K, PCMA_8K, AudioFormat
from gateway.callers.audiosocket.doorstep import MAX_EARLY_FRAMES, SOUND_WAIT_MS
from gateway.legs.closing import MAX_STRIKES

LOUD = {0x10: b"\x00\x30\x00\xd0" * 80, 0x12: b"\x00\x30\x00\xd0" * 160}
MULAW = b"\x20" * 160


async def over(desk: Desk, *lines: Asterisk) -> None:
    for line in lines:
        line.goes()
    await desk.gateway.live_calls.wait_empty()


def test_the_application_gets_silence_at_once_and_then_a_frame_every_20_ms(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        assert line.frames == [(0x10, bytes(320))]
        await line.speaks(3_000, 0x10, LOUD[0x10])
        assert {kind for kind, _ in line.frames} == {0x10}
        assert {len(payload) for _, payload in line.frames} == {320}
        assert line.sound.strip(b"\0")
        assert len(line.frames) == pytest.approx(150, abs=3)
        settled = line.at_ms[5:]
        assert {after - before for before, after in pairwise(settled)} == {20}
        line.goes()
        record = await desk.record(registered)
        assert (record.protocol, record.summary.end_reason) == ("audiosocket", "caller_hung_up")
        assert (record.caller.number, record.caller.called) == (CALLER, CALLED)
        assert record.summary.caller_audio_ms == pytest.approx(3_000, abs=20)

    with_desk(tmp_path, main)


@pytest.mark.parametrize("said", [None, PCM16_16K])
def test_a_wide_channel_gets_its_own_kind(tmp_path: Path, said: AudioFormat | None) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(said), desk.connect()
        line.calls(registered)
        await line.speaks(2_000, 0x12, LOUD[0x12])
        first = [kind for kind, _ in line.frames[:4]]
        assert first.count(0x10) <= (0 if said else 2)
        assert {(kind, len(payload)) for kind, payload in line.frames[4:]} == {(0x12, 640)}
        await over(desk, line)

    with_desk(tmp_path, main)


def test_a_wide_channel_of_a_caller_without_sound_is_heard_at_8_khz_once_there_is_sound(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await later(1)
        assert {(kind, len(payload)) for kind, payload in line.frames} == {(0x10, 320)}
        assert desk.live == 1
        await line.speaks(1_000, 0x12, LOUD[0x12])
        assert {(kind, len(payload)) for kind, payload in line.frames} == {(0x10, 320)}  # which Asterisk takes too
        line.goes()
        assert (await desk.record(registered)).summary.caller_audio_ms >= 980

    with_desk(tmp_path, main)


def test_a_caller_without_sound_has_its_call_after_60_ms_and_is_greeted(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await later(SOUND_WAIT_MS / 1000 - 0.01)
        assert (desk.live, len(line.frames)) == (0, 3)
        await later(0.02)
        assert desk.live == 1
        await later(5)
        assert line.sound.strip(b"\0")
        assert max(line.gaps_ms) <= 41  # once, where the call takes the silence over
        assert set(line.at_ms[5:]) == set(range(line.at_ms[5], line.at_ms[-1] + 1, 20))
        line.goes()
        record = await desk.record(registered)
        assert record.summary.line is not None
        assert record.summary.line.filled_ms > 4_000

    with_desk(tmp_path, main)


def test_mu_law_under_the_kind_of_pcm_is_heard_and_answered_with_pcm_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(desk: Desk) -> None:
        for _ in range(2):
            registered, line = await desk.register(), desk.connect()
            line.calls(registered)
            await line.speaks(500, 0x10, MULAW)
            await line.speaks(3_000, 0x10, b"\xff" * 160)
            assert {(kind, len(payload)) for kind, payload in line.frames} == {(0x10, 320)}
            line.goes()
            summary = (await desk.record(registered)).summary
            assert summary.caller_audio_ms == pytest.approx(3_500, abs=40)  # as PCM it would be half as long
            assert summary.turns

    with_desk(tmp_path, main)
    assert caplog.text.count("mu-law") == 1


def test_a_format_that_the_dialplan_has_said_needs_no_waiting(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(PCMA_8K), desk.connect()
        line.calls(registered)
        assert desk.live == 1
        await later(0.5)
        assert {(kind, len(payload)) for kind, payload in line.frames} == {(0x10, 320)}
        assert line.sound.strip(b"\0")
        await over(desk, line)

    with_desk(tmp_path, main)


def test_a_call_id_that_is_not_expected_ends_the_connection_at_once(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered = await desk.register()
        line, again, third = desk.connect(), desk.connect(), desk.connect()
        line.says(frame(0x01, bytes(16)))
        assert (line.ended, line.got) == (["eof"], b"")
        again.calls(registered)
        third.calls(registered)  # each id opens one call
        assert third.ended == ["eof"]
        assert dict(desk.listener.counts) == {"unknown_call": 2}
        assert desk.gateway.admission.model_legs_opened == 0
        await over(desk, again)

    with_desk(tmp_path, main)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (frame(0x10, bytes(320)), "wrong_order"),
        (frame(0x03, b"5"), "wrong_order"),
        (frame(0x00), "wrong_order"),
        (frame(0x01, bytes(15)), "bad_frame"),
        (frame(0x01), "bad_frame"),
        (b"\x10\xff\xff", "bad_frame"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no_first_frame"),
    ],
)
def test_a_first_frame_without_a_call_id_ends_the_connection(tmp_path: Path, first: bytes, reason: str) -> None:
    async def main(desk: Desk) -> None:
        line = desk.connect()
        line.says(first)
        if reason == "no_first_frame":
            await later(2.1)
        assert line.ended == ["eof"]
        assert dict(desk.listener.counts) == {reason: 1}
        assert isinstance(await desk.register(), object)
        await later(2)
        assert len(desk.listener) == 0

    with_desk(tmp_path, main)


def test_a_peer_of_another_network_is_not_let_in(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        line = desk.connect("192.0.2.7")
        assert line.ended == ["aborted"]
        assert dict(desk.listener.counts) == {"not_allowed": 1}

    with_desk(tmp_path, main)


@pytest.mark.parametrize("how", ["closed", "reset", "hang_up"])
def test_a_caller_that_goes_before_its_first_sound_frees_its_place(tmp_path: Path, how: str) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await later(0.03)
        if how == "hang_up":
            line.says(frame(0x00))
            assert line.ended == ["eof"]
        else:
            line.goes(ConnectionResetError() if how == "reset" else None)
        await later(0.01)
        assert (desk.live, desk.gateway.admission.model_legs_opened) == (0, 0)
        assert dict(desk.listener.counts) == {"hung_up": 1}
        await desk.register()
        await later(1.5)
        assert (desk.live, len(line.frames)) == (0, 2)

    with_desk(tmp_path, main)


def test_keys_before_the_first_sound_are_kept_for_the_call(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        line.says(frame(0x03, b"0"))
        line.says(frame(0x03, b"#"))
        await line.speaks(100, 0x10, bytes(320))
        await later(15)
        assert line.frames[-1] == (0x00, b"")  # the agent has hung up, as the key asks
        line.goes()
        assert (await desk.record(registered)).summary.end_reason == "agent_hung_up"

    with_desk(tmp_path, main)


def test_a_far_end_that_sends_everything_but_sound_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        for _ in range(MAX_EARLY_FRAMES):
            line.says(frame(0x77, b"x"))
        await later(0.01)
        assert line.ended == ["eof"]
        line.goes()
        assert (await desk.record(registered)).summary.end_reason == "bad_input"

    with_desk(tmp_path, main)


@pytest.mark.parametrize("bad", [frame(0x05, b"x"), frame(0x01, bytes(16)), frame(0x10, bytes(319)), frame(0x10)])
def test_ten_malformed_frames_in_a_row_end_the_call_and_keep_its_record(tmp_path: Path, bad: bytes) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await line.speaks(1_000, 0x10, LOUD[0x10])
        line.says(bad * (MAX_STRIKES - 1) + frame(0x10, bytes(320)) + bad * (MAX_STRIKES - 1))
        assert line.ended == []
        line.says(bad)
        assert line.ended == ["eof"]
        line.goes()
        assert (await desk.record(registered)).summary.end_reason == "bad_input"

    with_desk(tmp_path, main)


def test_a_giant_frame_in_a_call_ends_it_and_keeps_its_record(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await line.speaks(500, 0x10, LOUD[0x10])
        line.says(b"\x10\xff\xff" + bytes(100))
        assert line.ended == ["eof"]
        line.goes()
        assert (await desk.record(registered)).summary.end_reason == "bad_input"
        assert dict(desk.listener.counts) == {"bad_frame": 1}

    with_desk(tmp_path, main)


def test_the_caller_hangs_up_by_a_frame_or_by_its_connection(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        for by_frame in (True, False):
            registered, line = await desk.register(), desk.connect()
            line.calls(registered)
            await line.speaks(500, 0x10, LOUD[0x10])
            line.says(frame(0x00)) if by_frame else line.goes()
            assert (await desk.record(registered)).summary.end_reason == "caller_hung_up"
            line.goes()

    with_desk(tmp_path, main)


def test_the_agent_hangs_up_with_a_frame_after_its_goodbye(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await line.speaks(4_000, 0x10, bytes(320))
        line.says(frame(0x03, b"0"))
        line.says(frame(0x03, b"#"))
        await line.speaks(8_000, 0x10, bytes(320))
        assert line.frames[-1] == (0x00, b"")
        assert line.ended[0] == "eof"
        assert (await desk.record(registered)).summary.end_reason == "agent_hung_up"

    with_desk(tmp_path, main)


def test_a_far_end_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await later(1)
        line.full = True
        await later(20)
        assert (await desk.record(registered)).summary.end_reason == "too_slow"
        assert line.ended == ["eof", "aborted"]

    with_desk(tmp_path, main)


def test_a_server_that_stops_takes_no_new_connection_and_lets_its_calls_go_on(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        registered, line = await desk.register(), desk.connect()
        line.calls(registered)
        await line.speaks(500, 0x10, LOUD[0x10])
        waiting = await desk.register()
        desk.draining = True
        late = desk.connect()
        late.calls(waiting)
        assert late.ended == ["eof"]
        assert desk.listener.counts["draining"] == 1
        await line.speaks(500, 0x10, LOUD[0x10])
        assert (desk.live, line.ended) == (1, [])
        desk.gateway.live_calls.goodbye()
        assert line.frames[-1] == (0x00, b"")
        line.goes()
        assert (await desk.record(registered)).summary.end_reason == "shutting_down"

    with_desk(tmp_path, main, max_calls=2)


def test_no_log_line_and_no_representation_holds_a_number_or_a_call_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ids: list[str] = []

    async def main(desk: Desk) -> None:
        registered, line = await desk.register(PCM16_8K), desk.connect()
        ids.append(str(registered.call_id))
        assert CALLER not in repr(registered)
        line.calls(registered)
        await line.speaks(500, 0x10, LOUD[0x10])
        line.says(frame(0x77) * MAX_STRIKES)
        line.goes()
        await desk.record(registered)

    with_desk(tmp_path, main)
    assert "4930" not in caplog.text
    assert ids[0] not in caplog.text
    assert "17.1" not in caplog.text


def test_no_bytes_of_a_peer_break_anything_and_every_place_is_free_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = Random(11)

    def anything() -> bytes:
        kind = odd.choice([0x00, 0x01, 0x03, 0x10, 0x10, 0x12, 0x18, 0x44, 0xFF])
        size = odd.choice([0, 1, 16, 160, 320, 640, odd.randrange(2_000)])
        return odd.choice([frame(kind, odd.randbytes(size)), odd.randbytes(odd.randrange(40))])

    async def main(desk: Desk) -> None:
        for _ in range(60):
            registered = await desk.register() if odd.random() < 0.8 else None
            line = desk.connect()
            if registered is not None:
                line.calls(registered)
            for _ in range(odd.randrange(40)):
                if line.gone:
                    break
                line.says(anything())
                if odd.random() < 0.5:
                    await later(0.02)
            line.goes(odd.choice([None, ConnectionResetError()]))
            await later(0.01)
            await desk.gateway.live_calls.wait_empty()
        assert len(desk.listener) == 0
        assert desk.gateway.live_calls.broken == 0
        await desk.register()

    with_desk(tmp_path, main)
    assert "Traceback" not in caplog.text
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
