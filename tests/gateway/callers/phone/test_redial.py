"""A far end that dials a live call again: the call goes on over the new socket, and a wrong one costs it nothing."""

from __future__ import annotations

from pathlib import Path

from support.calls.call_rig import later
from support.calls.phone_desk import FRAME, START, Desk, with_call
from support.calls.phone_socket import PLAIN_RULES, MemorySocket, PlainCodec

from audio.formats import PCM16_8K
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.receiver import START_MS
from gateway.callers.phone.redial import RedialReceiver
from gateway.legs.closing import MAX_STRIKES

REDIAL_MS = 5_000


def dials_again(desk: Desk, codec: PlainCodec | None = None) -> MemorySocket:
    """A second socket of the same call."""
    receiver = RedialReceiver(desk.receiver, codec or PlainCodec(), desk.clock)
    return MemorySocket(receiver, desk.clock.now_ms)


def test_a_call_whose_socket_is_lost_goes_on_over_the_next_one(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.5)
        desk.socket.goes()
        await later(3)
        again = dials_again(desk)
        assert (desk.live, again.sound) == (1, b"")
        again.says(START)
        await later(1)
        assert again.sound.strip(b"\xff") != b""  # the greeting goes on
        again.says({"key": "1"})
        before = len(again.sound)
        await later(8)
        assert len(again.sound) > before
        again.says({"stop": 1})
        record = await desk.record()
        assert record.summary.end_reason == "caller_hung_up"
        assert desk.gateway.admission.model_legs_opened == 1
        assert desk.ends == ["caller_hung_up"]

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_nothing_is_spoken_into_the_void_while_the_socket_is_lost(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.5)
        heard_ms = len(desk.socket.sound) // 8
        desk.socket.goes()
        await later(4.9)
        again = dials_again(desk)
        again.says(START)
        await later(20)
        again.goes()
        await later(6)
        record = await desk.record()
        # The greeting takes 2.4 s; had it been spoken while nobody was there, nothing would be left of it.
        assert heard_ms + len(again.sound) // 8 > 2_300 > 1_000 > heard_ms
        assert record.summary.end_reason == "caller_hung_up"

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_a_far_end_that_does_not_dial_again_in_time_has_hung_up(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        desk.socket.goes()
        await later(REDIAL_MS / 1000 - 0.1)
        assert (desk.live, desk.ends) == (1, [])
        await later(0.2)
        assert desk.ends == ["caller_hung_up"]
        assert (await desk.record()).summary.end_reason == "caller_hung_up"
        late = dials_again(desk)
        late.says(START)
        assert late.closed_with == (1008, "the call has ended")

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_without_a_time_for_it_a_lost_socket_ends_the_call(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        desk.socket.goes()
        assert desk.ends == ["caller_hung_up"]
        await desk.record()

    with_call(tmp_path, main)


def test_a_second_socket_takes_a_call_over_whose_first_is_open_and_the_first_is_closed(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.5)
        for _ in range(MAX_STRIKES - 1):
            desk.socket.says(b"nonsense")
        again = dials_again(desk)
        assert desk.socket.closed_with is None
        again.says(START)
        again.says(b"nonsense")  # what was malformed on the first socket is forgotten
        assert desk.socket.closed_with == (1000, "another connection has taken the call over")
        told = len(desk.socket.sent)
        for _ in range(60):  # as long as the 60 ms after which the caller's sound would be filled up
            await later(0.02)
            again.speaks(FRAME)
        assert (len(desk.socket.sent), desk.live, desk.ends) == (told, 1, [])
        assert {"clear": 1} in again.told  # the caller was heard over the new socket
        third = dials_again(desk)
        third.says(START)
        assert again.closed_with == (1000, "another connection has taken the call over")
        third.goes()
        await later(6)
        assert desk.ends == ["caller_hung_up"]
        await desk.record()

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_a_second_socket_that_says_nothing_or_the_wrong_thing_costs_the_call_nothing(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        await later(0.1)
        silent, other, loud = (dials_again(desk) for _ in range(3))
        other.says({"start": {"call": "yours"}})
        assert other.closed_with == (1008, "the first message is for another call")
        for _ in range(MAX_STRIKES):
            loud.speaks(FRAME)
        assert loud.closed_with == (1008, "too many malformed messages in a row")
        rules = FarEndRules(PCM16_8K, 200, Framing.WHOLE, mark_every_ms=200)
        faster = dials_again(desk, PlainCodec(rules=rules))
        faster.says(START)
        assert faster.closed_with == (1008, "the sound is not in the call's format")
        await later(START_MS / 1000 + 0.1)
        assert silent.closed_with == (1008, "the first message has not come in time")
        assert (desk.live, desk.socket.closed_with) == (1, None)
        desk.socket.goes()
        await later(6)
        await desk.record()

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_a_call_that_ends_while_no_socket_is_there_ends_at_once(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        desk.socket.goes()
        await later(1)
        desk.receiver.give_up("caller_hung_up")
        assert desk.ends == ["caller_hung_up"]
        assert (await desk.record()).summary.end_reason == "caller_hung_up"

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_a_far_end_may_break_the_protocol_before_its_second_socket_is_there(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says(START)
        again = dials_again(desk)
        again.goes()
        assert (desk.live, desk.ends) == (1, [])
        again.says(START)  # a message after the end
        assert desk.socket.closed_with is None
        for _ in range(MAX_STRIKES):
            desk.socket.says(b"nonsense")
        assert (await desk.record()).summary.end_reason == "bad_input"

    with_call(tmp_path, main, redial_ms=REDIAL_MS)


def test_the_rules_of_the_two_sockets_are_the_same() -> None:
    assert PlainCodec().read_text(b'{"start":{"call":"mine"}}').rules == PLAIN_RULES  # type: ignore[union-attr]
