"""The media socket of a telephone call: before the call, in it, and at its end, with a made-up protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from support.calls.call_rig import later
from support.calls.phone_desk import FRAME, START, Desk, with_call
from support.calls.phone_socket import PLAIN_RULES, PlainCodec

from audio.formats import PCM16_8K
from audio.playout import FarEndRules, Framing
from gateway.auth.requests import Refusal
from gateway.callers.phone.calls import NO_NUMBER
from gateway.callers.phone.codec import FarEndSilent
from gateway.callers.phone.receiver import START_MS
from gateway.calls.admission import Ticket
from gateway.legs.closing import MAX_STRIKES


def test_a_call_begins_with_the_first_message_and_is_greeted(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        assert desk.socket.told == [{"hello": 1}]
        await later(1)
        assert (desk.live, desk.gateway.admission.model_legs_opened) == (0, 0)
        desk.socket.says(START)
        assert desk.live == 1
        await later(3)
        assert desk.socket.sound.strip(b"\xff") != b""
        assert {"mark": "0-1"} in desk.socket.told
        desk.socket.says({"stop": 1})
        record = await desk.record()
        assert record.summary.end_reason == "caller_hung_up"
        assert (record.protocol, record.caller.number, record.caller.called) == ("plain", "+4930111", "+4930222")
        assert desk.socket.closed_with == (1000, "")
        assert desk.ends == ["caller_hung_up"]

    with_call(tmp_path, main)


def test_what_is_said_is_answered_and_a_barge_in_clears(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.5)
        await desk.speaks(1_000)
        assert {"clear": 1} in desk.socket.told  # the greeting was interrupted
        await later(2)
        assert desk.socket.sound.strip(b"\xff") != b""
        answered = len(desk.socket.sound)
        desk.socket.says({"key": "1"})
        await later(5)
        assert len(desk.socket.sound) > answered
        desk.socket.goes()
        record = await desk.record()
        assert record.summary.end_reason == "caller_hung_up"
        assert record.summary.line is not None
        assert record.summary.line.filled_ms > 5_000

    with_call(tmp_path, main)


def test_a_far_end_that_says_nothing_is_turned_away_after_five_seconds_and_its_place_is_free(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        full = await desk.calls.admit("default", "+4930222")
        assert isinstance(full, Refusal)
        await later(START_MS / 1000 - 0.1)
        assert desk.socket.closed_with is None
        await later(0.2)
        assert desk.socket.closed_with == (1008, "the first message has not come in time")
        assert desk.ends == ["bad_input"]
        assert isinstance(await desk.calls.admit("default", "+4930222"), Ticket)

    with_call(tmp_path, main)


def test_a_first_message_for_another_call_is_turned_away_and_nothing_is_dialled(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says({"start": {"call": "yours"}})
        assert desk.socket.closed_with == (1008, "the first message is for another call")
        assert (desk.live, desk.gateway.admission.model_legs_opened) == (0, 0)
        assert isinstance(await desk.calls.admit("default", "+4930222"), Ticket)

    with_call(tmp_path, main)


def test_a_socket_that_is_lost_before_the_call_frees_its_place(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.goes()
        assert desk.ends == ["caller_hung_up"]
        assert isinstance(await desk.calls.admit("default", "+4930222"), Ticket)

    with_call(tmp_path, main)


@pytest.mark.parametrize("bad", [b"nonsense", b'{"key": 7}', b"[]"])
def test_ten_malformed_messages_in_a_row_end_the_call_and_the_log_says_so(tmp_path: Path, bad: bytes) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        for _ in range(MAX_STRIKES - 1):
            desk.socket.says(bad)
        desk.socket.says({"fine": 1})
        for _ in range(MAX_STRIKES - 1):
            desk.socket.says(bad)
        assert desk.socket.closed_with is None
        desk.socket.says(bad)
        assert desk.socket.closed_with == (1008, "too many malformed messages in a row")
        assert (await desk.record()).summary.end_reason == "bad_input"
        await later(5)
        (events,) = (tmp_path / "data").rglob("events.jsonl")
        logged = [orjson.loads(line) for line in events.read_bytes().splitlines()[1:]]
        notes = [line["text"] for line in logged if "patchbay.bad_message" in line.get("text", "")]
        assert len(notes) == 2 * MAX_STRIKES - 1
        assert bad.decode() not in "".join(notes)

    with_call(tmp_path, main)


def test_before_the_call_other_messages_are_malformed_and_ten_of_them_turn_the_far_end_away(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        for number in range(MAX_STRIKES):
            assert desk.socket.closed_with is None
            desk.socket.says({"key": "1"}) if number % 2 else desk.socket.speaks(FRAME)
        assert desk.socket.closed_with == (1008, "too many malformed messages in a row")
        assert desk.live == 0
        assert isinstance(await desk.calls.admit("default", "+4930222"), Ticket)

    with_call(tmp_path, main)


def test_a_second_first_message_changes_nothing(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        desk.socket.says(START)
        assert (desk.live, desk.socket.closed_with) == (1, None)
        desk.socket.goes()
        await desk.record()

    with_call(tmp_path, main)


def test_half_a_sample_is_a_malformed_message(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        for _ in range(MAX_STRIKES):
            desk.socket.speaks(b"\x00\x00\x00")
        assert (await desk.record()).summary.end_reason == "bad_input"

    with_call(tmp_path, main, PlainCodec(rules=FarEndRules(PCM16_8K, 0, Framing.ONE)))


def test_sound_from_before_the_call_is_kept_where_the_protocol_allows_it(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        for _ in range(20):
            desk.socket.speaks(FRAME)
        desk.socket.says(START)
        assert desk.socket.closed_with is None
        desk.socket.goes()
        assert (await desk.record()).summary.caller_audio_ms == 300  # 48 bytes a millisecond are kept

    with_call(tmp_path, main, PlainCodec(early_ms=50))


def test_the_agent_hangs_up_after_its_goodbye_was_played(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(4)
        desk.socket.says({"key": "0"})
        await later(10)
        assert desk.socket.told[-1] == {"bye": "agent_hung_up"}
        assert desk.socket.closed_with == (1000, "")
        assert desk.ends == ["agent_hung_up"]
        assert (await desk.record()).summary.end_reason == "agent_hung_up"

    with_call(tmp_path, main)


def test_a_far_end_without_room_gets_no_sound_until_it_has_room(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        desk.socket.says({"full": True})
        await later(1)
        assert desk.socket.sound == b""
        desk.socket.says({"full": False})
        await later(1)
        assert desk.socket.sound != b""
        desk.socket.goes()
        await desk.record()

    with_call(tmp_path, main)


def test_a_far_end_that_plays_more_slowly_than_the_clock_is_waited_for(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.5)
        before = len(desk.socket.sound)
        desk.socket.says({"holds": 1_200})
        await later(0.9)
        assert len(desk.socket.sound) == before
        await later(0.5)
        assert len(desk.socket.sound) > before
        desk.socket.goes()
        await desk.record()

    with_call(tmp_path, main)


def test_a_far_end_that_leaves_heartbeats_unanswered_counts_as_gone(tmp_path: Path) -> None:
    class Unanswered(PlainCodec):
        beats = 0

        def heartbeat(self) -> Sequence[bytes]:
            self.beats += 1
            if self.beats > 2:
                raise FarEndSilent("no answer")
            return super().heartbeat()

    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(5)
        assert (desk.live, desk.socket.told.count({"beat": 1})) == (1, 2)
        record = await desk.record()
        assert record.summary.end_reason == "caller_hung_up"
        assert desk.socket.closed_with == (1000, "no answer")
        assert desk.ends == ["caller_hung_up"]

    with_call(tmp_path, main, Unanswered(heartbeat_ms=2_000))


def test_a_heartbeat_is_sent_also_before_the_call(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        await later(4.5)
        assert desk.socket.told.count({"beat": 1}) == 2
        desk.socket.says(START)
        await later(4)
        assert desk.socket.told.count({"beat": 1}) == 4
        desk.socket.goes()
        await desk.record()

    with_call(tmp_path, main, PlainCodec(heartbeat_ms=2_000))


def test_a_fault_of_the_codec_ends_the_call_and_keeps_its_record(tmp_path: Path) -> None:
    class Broken(PlainCodec):
        def sound(self, payload: bytes) -> bytes:
            raise ZeroDivisionError

    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        record = await desk.record()
        assert record.summary.end_reason == "server_fault"
        assert desk.socket.closed_with == (1011, "")

    with_call(tmp_path, main, Broken())


def test_a_number_that_nobody_answers_is_refused(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        assert await desk.calls.admit("default", "+4930333") == NO_NUMBER
        desk.socket.goes()

    with_call(tmp_path, main)


def test_no_log_line_holds_a_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(2)
        desk.socket.says({"start": {"call": "yours", "from": "+4930111"}})
        desk.socket.goes()
        await desk.record()

    caplog.set_level(logging.DEBUG)
    with_call(tmp_path, main)
    assert "4930111" not in caplog.text
    assert "4930222" not in caplog.text


def test_the_rules_of_the_made_up_protocol_have_marks() -> None:
    assert PLAIN_RULES.mark_every_ms == 200
