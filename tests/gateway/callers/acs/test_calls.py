"""Calls whose parts come late, twice or never: each ends, is hung up once, and gives its place back."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest
from support.calls.acs_world import CALLED, AcsWorld, TestingSocket, mint, with_acs
from support.calls.call_rig import later

from gateway.auth.requests import Refusal
from gateway.callers.acs.call import AcsCall
from gateway.callers.acs.calls import REDIAL_MS
from gateway.callers.acs.ringing import SOCKET_S
from gateway.calls.admission import Ticket


async def has_room(world: AcsWorld) -> bool:
    """Whether one more call would be let in."""
    found = await world.phone.admit("default", CALLED)
    if isinstance(found, Ticket):
        world.phone.release(found)
    return isinstance(found, Ticket)


def test_a_call_that_rings_holds_its_place(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        assert not await has_room(world)
        await world.tells("CallDisconnected")
        assert await has_room(world)

    with_acs(tmp_path, main, max_calls=1)


def test_a_call_that_cannot_be_answered_gives_its_place_back(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["answer"] = "HttpResponseError"
        await world.rings()
        assert await has_room(world)
        await later(2 * SOCKET_S + 1)
        assert (len(world.carrier.calls), world.actions.of("hang_up")) == (0, [])
        assert world.carrier.counts.of("answer_failed") == 1

    with_acs(tmp_path, main, max_calls=1)


def test_a_call_that_was_answered_although_the_action_failed_is_carried(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["answer"] = "TimeoutError"
        await world.rings()
        await later(1)
        socket = await world.opens()
        await later(3)
        assert world.heard_ms() > 2_000
        socket.goes()
        await later(REDIAL_MS / 1000 + 1)
        assert (await world.record()).caller.number == "+4930111"
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_a_call_that_was_answered_although_the_action_failed_and_has_no_socket_is_hung_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["answer"] = "TimeoutError"
        await world.rings()
        await world.tells("CallConnected")
        await later(SOCKET_S + 1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_an_answered_call_without_a_media_socket_is_hung_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        await later(SOCKET_S - 1)
        assert world.actions.of("hang_up") == []
        await later(2)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert await has_room(world)
        assert world.gateway.admission.model_legs_opened == 0
        late = await world.dials()
        assert isinstance(late, Refusal)
        assert late.code == "call_over"

    with_acs(tmp_path, main, max_calls=1)


def test_a_media_socket_that_the_service_cannot_open_ends_the_call_at_once(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        failed = {"code": 400, "subCode": 8581, "message": "Transport url is not valid"}
        assert await world.tells("MediaStreamingFailed", resultInformation=failed) == 200
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_a_stream_that_fails_in_a_live_call_is_waited_for(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.call()
        assert await world.tells("MediaStreamingFailed") == 200
        await later(1)
        assert (world.live, world.actions.of("hang_up")) == (1, [])
        await world.tells("CallDisconnected")

    with_acs(tmp_path, main)


@pytest.mark.parametrize("kind", ["CallDisconnected", "AnswerFailed"])
def test_a_caller_who_does_not_wait_costs_nothing(tmp_path: Path, kind: str) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.hold["answer"] = asyncio.Event()
        await world.rings()
        await world.tells(kind)
        assert await has_room(world)
        world.actions.hold["answer"].set()
        await later(0.1)
        assert (len(world.carrier.calls), world.actions.of("hang_up")) == (0, [])

    with_acs(tmp_path, main, max_calls=1)


def test_a_call_that_ends_before_its_connection_is_known_is_hung_up_once_it_is(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.hold["answer"] = asyncio.Event()
        await world.rings()
        socket = await world.dials(x_ms_call_connection_id="")
        assert isinstance(socket, TestingSocket)
        await later(6)  # it says nothing, and is turned away
        assert socket.closed_with == (1008, "the first message has not come in time")
        assert world.actions.of("hang_up") == []
        world.actions.hold["answer"].set()
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_a_call_that_ends_before_its_connection_is_known_is_hung_up_when_it_is_connected(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["answer"] = "TimeoutError"
        await world.rings()
        socket = await world.dials(x_ms_call_connection_id="")
        assert isinstance(socket, TestingSocket)
        await later(6)
        assert world.actions.of("hang_up") == []
        await world.tells("CallConnected")
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_a_call_is_hung_up_once_whoever_tells_its_connection_again(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        held = world.actions.hold["answer"] = asyncio.Event()
        socket = await world.call()
        for _ in range(10):
            socket.says(b"nonsense")
        await world.record()
        held.set()
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_a_call_with_a_socket_is_no_longer_watched(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.call()
        await later(SOCKET_S + 5)
        assert (world.live, world.actions.of("hang_up")) == (1, [])
        await world.tells("CallDisconnected")

    with_acs(tmp_path, main)


def test_a_hang_up_that_fails_costs_that_action(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.failing["hang_up"] = "HttpResponseError"
        socket = await world.call()
        for _ in range(10):
            socket.says(b"nonsense")
        await world.record()
        await later(0.1)
        assert world.carrier.counts.of("hang_up_failed") == 1
        assert len(world.carrier.calls) == 0

    with_acs(tmp_path, main)


def test_the_end_of_the_server_waits_for_hang_ups_within_a_bound(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        held = world.actions.hold["hang_up"] = asyncio.Event()
        await world.call()
        world.gateway.live_calls.goodbye()
        await world.record()
        begun_ms = world.clock.now_ms()
        closing = asyncio.get_running_loop().create_task(world.carrier.close())
        await later(1)
        assert not closing.done()
        held.set()
        await closing
        assert world.clock.now_ms() - begun_ms == 1_000
        assert world.actions.closed
        assert world.carrier.counts.of("hang_up_done") == 1

    with_acs(tmp_path, main)


def test_an_action_that_never_ends_does_not_keep_the_server(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.actions.hold["hang_up"] = asyncio.Event()
        socket = await world.call()
        for _ in range(10):
            socket.says(b"nonsense")
        await world.record()
        begun_ms = world.clock.now_ms()
        await world.carrier.close()
        assert 5_000 <= world.clock.now_ms() - begun_ms <= 6_100

    with_acs(tmp_path, main)


def test_a_call_that_another_process_has_answered_is_carried_without_its_numbers(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        ticket = world.tickets.media.mint(
            carrier="acs",
            tenant="default",
            agent="desk",
            call_id=world.far_end.correlation_id,
            now_s=world.clock.wall_s(),
            redial=True,
        )
        first = await world.dials(segment=ticket)
        assert isinstance(first, TestingSocket)
        first.says(world.far_end.metadata())
        world.session_id = world.gateway.live_calls.of("default")[0].session_id
        first.goes()
        await later(1)
        again = await world.dials(segment=ticket)
        assert isinstance(again, TestingSocket)
        again.says(world.far_end.metadata())
        await later(1)
        for _ in range(10):
            again.says(b"nonsense")
        record = await world.record()
        assert (record.caller.number, record.caller.carrier_call_id) == (None, world.far_end.connection_id)
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]

    with_acs(tmp_path, main)


def test_a_ticket_for_an_agent_without_room_is_refused_and_the_call_hung_up(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        taken = await world.phone.admit("default", CALLED)
        assert isinstance(taken, Ticket)
        ticket = world.tickets.media.mint(
            carrier="acs", tenant="default", agent="desk", call_id="c", now_s=world.clock.wall_s(), redial=True
        )
        found = await world.dials(segment=ticket, x_ms_call_correlation_id="c")
        assert isinstance(found, Refusal)
        assert found.status == 503
        await later(0.1)
        assert (world.actions.of("hang_up"), len(world.carrier.calls)) == ([world.far_end.connection_id], 0)

    with_acs(tmp_path, main, max_calls=1)


def test_a_socket_that_does_not_open_ends_its_call_but_not_one_that_is_live(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        socket = await world.opens()
        again = await world.carrier.opener.admit(world.wish())
        assert isinstance(again, AcsCall)
        world.carrier.opener.release(again)
        assert (world.live, socket.closed_with) == (1, None)
        await world.tells("CallDisconnected")
        await world.record()
        world.far_end.correlation_id, world.far_end.context = "second", "second"
        assert await world.grid(world.far_end.ring()) == (200, b"")
        await later(0.01)
        segment = world.actions.of("answer")[1].media_url.rpartition("/")[2]
        admitted = await world.carrier.opener.admit(world.wish(segment=segment))
        assert isinstance(admitted, AcsCall)
        world.carrier.opener.release(admitted)
        await later(0.1)
        assert world.actions.of("hang_up") == [world.far_end.connection_id]
        assert await has_room(world)

    with_acs(tmp_path, main, max_calls=1)


def test_tokens_are_checked_with_keys_that_were_fetched_once(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.carrier.open()
        assert (world.actions.opened, len(world.fetched)) == (True, 2)
        await world.call()
        await world.tells("CallDisconnected")
        assert len(world.fetched) == 2
        assert mint().issuer in world.fetched[0]

    with_acs(tmp_path, main)


def test_nothing_of_a_call_is_left_for_the_garbage_collector(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        first = await world.call()
        second = await world.opens()  # takes the call over
        admitted = await world.carrier.opener.admit(world.wish())
        assert isinstance(admitted, AcsCall)
        call, receiver = weakref.ref(admitted), weakref.ref(admitted.receiver)
        del admitted
        await world.tells("CallDisconnected")
        await world.record()
        await later(61)
        del first, second
        assert (call(), receiver()) == (None, None)

    gc.collect()
    gc.disable()
    try:
        with_acs(tmp_path, main)
    finally:
        gc.enable()
