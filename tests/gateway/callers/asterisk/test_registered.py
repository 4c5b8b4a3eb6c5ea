"""Calls that a dialplan has announced, while they wait for their media socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

from support.calls.call_rig import later
from support.calls.whole_gateway import within

from audio.formats import PCM16_16K
from gateway.app import Gateway
from gateway.auth.requests import Refusal
from gateway.callers.asterisk.registered import (
    DRAINING,
    HOLD_MS,
    NO_DIAL,
    TOO_MANY,
    DialMedia,
    RegisteredCall,
    RegisteredCalls,
)
from gateway.callers.asterisk.registration import Registration
from gateway.callers.phone.calls import NO_NUMBER, PhoneCalls
from gateway.clock import LoopClock
from gateway.config.numbers import Numbers
from sessions.caller_facts import CallerFacts

CALL = Registration(CallerFacts.of("+4930111", "222", carrier_call_id="17.1"), format=PCM16_16K)
MEDIA = Registration(CALL.facts, media_id="abc")


class Desk:
    """A gateway's registered calls."""

    def __init__(self, gateway: Gateway, dial_media: DialMedia | None, max_waiting: int) -> None:
        self.draining = False
        clock = LoopClock(asyncio.get_running_loop(), 0.0)
        self.calls = PhoneCalls(gateway.admission, Numbers.model_validate({"222": "desk"}), clock)
        self.registered = RegisteredCalls(
            self.calls, lambda: self.draining, dial_media=dial_media, max_waiting=max_waiting
        )

    async def register(self, registration: Registration = CALL) -> RegisteredCall:
        found = await self.registered.register("default", registration)
        assert isinstance(found, RegisteredCall)
        return found

    async def refused(self, registration: Registration = CALL) -> Refusal:
        found = await self.registered.register("default", registration)
        assert isinstance(found, Refusal)
        return found


def with_desk(
    folder: Path,
    main: Callable[[Desk], Awaitable[None]],
    *,
    dial_media: DialMedia | None = None,
    max_waiting: int = 1_000,
    max_calls: int = 100,
) -> None:
    async def whole(gateway: Gateway) -> None:
        await main(Desk(gateway, dial_media, max_waiting))

    within(folder, whole, max_calls=max_calls)


def test_a_registered_call_is_taken_once_under_its_id(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        first, second = await desk.register(), await desk.register()
        assert first.call_id != second.call_id
        assert desk.registered.take(first.call_id) is first
        assert desk.registered.take(first.call_id) is None
        assert desk.registered.take(UUID(int=7)) is None
        assert (first.format, first.facts.carrier_call_id) == (PCM16_16K, "17.1")
        assert dict(desk.registered.counts) == {"registered": 2, "taken": 1}

    with_desk(tmp_path, main)


def test_a_call_whose_socket_does_not_come_gives_its_place_back_after_a_minute(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        first = await desk.register()
        await later(10)
        second = await desk.register()
        assert (await desk.refused()).code == "server_full"
        await later(HOLD_MS / 1000 - 10.1)
        assert len(desk.registered) == 2
        await later(0.2)
        assert len(desk.registered) == 1
        assert desk.registered.take(first.call_id) is None
        third = await desk.register()
        await later(10)
        assert desk.registered.take(second.call_id) is None
        assert desk.registered.take(third.call_id) is third
        assert desk.registered.counts["expired"] == 2

    with_desk(tmp_path, main, max_calls=2)


def test_a_taken_call_is_not_released_when_its_time_would_be_over(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        taken = desk.registered.take((await desk.register()).call_id)
        assert taken is not None
        await later(HOLD_MS / 1000 + 1)
        assert (await desk.refused()).code == "server_full"
        desk.calls.release(taken.ticket)
        await desk.register()

    with_desk(tmp_path, main, max_calls=1)


def test_a_number_that_nobody_answers_and_a_server_that_stops_are_refused(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        assert await desk.refused(Registration(CallerFacts.of("1", "333"))) == NO_NUMBER
        desk.draining = True
        assert await desk.refused() == DRAINING
        assert dict(desk.registered.counts) == {"refused_number_not_found": 1, "refused_draining": 1}

    with_desk(tmp_path, main)


def test_a_server_that_begins_to_stop_during_the_admission_refuses_and_keeps_no_place(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        asked = iter([False, True])
        registered = RegisteredCalls(desk.calls, lambda: next(asked))
        assert await registered.register("default", CALL) == DRAINING
        await desk.register()

    with_desk(tmp_path, main, max_calls=1)


def test_only_so_many_calls_wait(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        first = await desk.register()
        await desk.register()
        assert await desk.refused() == TOO_MANY
        desk.registered.take(first.call_id)
        await desk.register()

    with_desk(tmp_path, main, max_waiting=2)


def test_closing_gives_all_places_back(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        await desk.register()
        desk.registered.close()
        assert len(desk.registered) == 0
        await desk.register()
        await later(HOLD_MS / 1000 + 1)
        assert dict(desk.registered.counts) == {"registered": 2, "dropped": 1, "expired": 1}

    with_desk(tmp_path, main, max_calls=1)


def test_a_media_id_is_handed_on_with_the_call_and_does_not_wait(tmp_path: Path) -> None:
    dialled: list[tuple[RegisteredCall, str]] = []

    async def main(desk: Desk) -> None:
        registered = await desk.register(MEDIA)
        assert dialled == [(registered, "abc")]
        assert desk.registered.take(registered.call_id) is None
        assert dict(desk.registered.counts) == {"registered": 1, "dialled": 1}

    with_desk(tmp_path, main, dial_media=lambda call, media_id: dialled.append((call, media_id)))


def test_a_media_id_is_refused_where_asterisk_is_not_dialled(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        assert await desk.refused(MEDIA) == NO_DIAL

    with_desk(tmp_path, main)


def test_a_dial_that_fails_at_once_gives_the_place_back(tmp_path: Path) -> None:
    def fails(call: RegisteredCall, media_id: str) -> None:
        raise ZeroDivisionError

    async def main(desk: Desk) -> None:
        await desk.register(MEDIA)
        await desk.register(MEDIA)

    with_desk(tmp_path, main, dial_media=fails, max_calls=1)
