"""Calls of Azure Communication Services against a whole gateway, as the service carries them."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import pytest
from support.calls.acs_world import CALLED, CALLER, AcsWorld, TestingSocket, with_acs
from support.calls.call_rig import later

from audio.formats import PCM16_16K
from gateway.callers.acs.calls import REDIAL_MS
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.ear import LinkDelay


def test_a_call_is_answered_greeted_and_asked_and_the_caller_hangs_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        (answering,) = world.actions.of("answer")
        assert answering.context == world.far_end.context
        assert answering.media_url.startswith("wss://voice.example/telephony/acs/media/")
        await later(4)
        greeted_ms = world.heard_ms()
        assert greeted_ms > 2_000
        await world.speaks(socket, 800)
        await world.speaks(socket, 1_000, level=0)
        await later(6)
        assert world.heard_ms() > greeted_ms + 2_000
        assert await world.tells("CallDisconnected") == 200
        socket.goes(1000)
        record = await world.record()
        assert (record.protocol, record.summary.end_reason) == ("acs", "caller_hung_up")
        assert (record.caller.number, record.caller.called) == (CALLER, CALLED)
        assert record.caller.carrier_call_id == world.far_end.connection_id
        assert record.caller.metadata == {"correlation_id": world.far_end.correlation_id}
        assert world.actions.of("hang_up") == []
        assert world.far_end.broken == []
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_sixteen_kilohertz_is_spoken_too(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        await later(4)
        assert world.heard_ms() > 2_000
        await world.tells("CallDisconnected")
        await world.record()
        assert socket.closed_with == (1000, "")

    with_acs(tmp_path, main, AcsFarEnd(CALLER, CALLED, format=PCM16_16K))


def test_a_barge_in_stops_what_the_service_holds_and_the_record_says_what_was_heard(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        await later(1)
        await world.speaks(socket, 800)
        assert world.far_end.stops >= 1
        heard_ms = world.heard_ms()
        assert heard_ms < 1_800  # the greeting takes 2.4 s
        await world.speaks(socket, 1_000, level=0)
        await world.tells("CallDisconnected")
        greeting = (await world.said())[0]
        assert len(greeting.heard_text) < len(greeting.text)
        (run,) = world.far_end.ear.runs[:1]
        assert abs(greeting.heard_ms - len(run.sound) / world.far_end.format.bytes_for_ms(1)) <= 20
        assert world.far_end.broken == []

    with_acs(tmp_path, main)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_heard_is_known_although_the_network_takes_its_time(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def main(world: AcsWorld) -> None:
        world.link = LinkDelay(chance.uniform(20, 150), 20, chance)
        socket = await world.call()
        await later(chance.uniform(0.3, 1.2))
        await world.speaks(socket, 800)
        await later(0.2)
        await world.tells("CallDisconnected")
        greeting = (await world.said())[0]
        heard_ms = len(world.far_end.ear.runs[0].sound) / world.far_end.format.bytes_for_ms(1)
        assert 300 < heard_ms < 2_000
        assert abs(greeting.heard_ms - heard_ms) <= 60
        assert world.far_end.broken == []

    with_acs(tmp_path, main)


def test_keys_are_told_to_the_agent(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        await later(4)
        before_ms = world.heard_ms()
        for digit in ("1", "2", "pound"):
            socket.says(world.far_end.key(digit))
        await later(3)
        assert world.heard_ms() > before_ms
        await world.tells("CallDisconnected")
        await world.record()

    with_acs(tmp_path, main)


def test_the_agent_hangs_up_by_an_action_once_its_goodbye_was_heard(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        await later(4)
        before_ms = world.heard_ms()
        socket.says(world.far_end.key("0"))
        await later(10)
        assert world.heard_ms() >= before_ms + 300
        assert socket.closed_with == (1000, "")
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert (await world.record()).summary.end_reason == "agent_hung_up"
        assert await world.tells("CallDisconnected") == 200  # what follows a hang-up is harmless
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_a_model_that_is_lost_in_its_answers_ends_the_call_which_is_hung_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        await later(4)
        before_ms = world.heard_ms()
        socket.says(world.far_end.key("9"))
        await later(15)
        assert world.heard_ms() > before_ms
        assert (world.live, world.gateway.admission.model_legs_opened) == (0, 2)
        assert (await world.record()).summary.end_reason == "model_lost"
        assert socket.closed_with == (1011, "")
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_a_call_that_breaks_is_hung_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        for _ in range(10):
            socket.says(b"nonsense")
        assert (await world.record()).summary.end_reason == "bad_input"
        assert socket.closed_with == (1008, "too many malformed messages in a row")
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_the_service_dials_again_and_the_call_goes_on(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        first = await world.call()
        await later(1)
        first.goes()
        await later(2)
        second = await world.opens()
        await later(4)
        assert world.heard_ms() > 2_000
        third = await world.opens()  # while the second is still open
        assert second.closed_with == (1000, "another connection has taken the call over")
        await world.speaks(third, 800)
        await world.speaks(third, 1_000, level=0)
        before_ms = world.heard_ms()
        await later(4)
        assert world.heard_ms() > before_ms
        assert (world.live, world.gateway.admission.model_legs_opened) == (1, 1)
        third.goes()
        await later(REDIAL_MS / 1000 + 0.1)
        assert (await world.record()).summary.end_reason == "caller_hung_up"
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert world.far_end.broken == []

    with_acs(tmp_path, main)


@pytest.mark.parametrize("order", ["socket, event, answer", "event, answer, socket", "event, socket, answer"])
def test_the_answer_the_event_and_the_socket_come_in_any_order(tmp_path: Path, order: str) -> None:
    async def main(world: AcsWorld) -> None:
        held = world.actions.hold["answer"] = asyncio.Event()
        await world.rings()
        for step in order.split(", "):
            if step == "socket":
                await world.opens()
            elif step == "event":
                assert await world.tells("CallConnected") == 200
            else:
                held.set()
            await later(0.1)
        assert world.live == 1
        await later(3)
        assert world.heard_ms() > 2_000
        await world.tells("CallDisconnected")
        assert (await world.record()).summary.end_reason == "caller_hung_up"
        assert world.actions.of("hang_up") == []

    with_acs(tmp_path, main)


def test_an_event_that_comes_twice_is_answered_once(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        await world.rings()
        other = AcsFarEnd(CALLER, CALLED, correlation_id="another", context=world.far_end.context)
        assert await world.grid(other.ring()) == (200, b"")
        await later(1)
        assert len(world.actions.of("answer")) == 1
        await world.opens()
        await world.rings()
        assert (len(world.actions.of("answer")), world.live) == (1, 1)
        await world.tells("CallDisconnected")
        await world.rings()
        await later(1)
        assert len(world.actions.of("answer")) == 1

    with_acs(tmp_path, main)


def test_no_log_line_holds_a_number_a_ticket_or_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["hang_up"] = "HttpResponseError"
        socket = await world.call()
        token = world.wish().headers.get("authorization") or ""
        await later(1)
        refused = await world.dials(segment="nonsense")
        assert not isinstance(refused, TestingSocket)
        for _ in range(10):
            socket.says(b"nonsense +4930111")
        await world.record()
        (answering,) = world.actions.of("answer")
        secrets.extend(
            [
                answering.context,
                token[20:],
                *(url.rpartition("/")[2] for url in (answering.media_url, answering.callback_url)),
            ]
        )

    secrets = ["4930111", "4930222"]
    caplog.set_level(logging.DEBUG)
    with_acs(tmp_path, main)
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert len(secrets) == 6
    assert [secret for secret in secrets if secret in logged] == []
