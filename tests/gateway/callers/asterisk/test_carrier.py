"""The parts of one exchange, put together as its settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.calls.carrier_entrance import open_entrance
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.auth.requests import Refusal
from gateway.callers.asterisk.carrier import AsteriskCarrier, AsteriskParts
from gateway.callers.asterisk.registered import NO_DIAL
from gateway.callers.asterisk.registration import Registration
from gateway.callers.phone.calls import PhoneCalls
from gateway.clock import LoopClock
from gateway.config.carriers import Asterisk
from gateway.config.numbers import Numbers
from sessions.caller_facts import CallerFacts

FACTS = CallerFacts.of("+4930111", "222", carrier_call_id="17.1")


def with_carrier(folder: Path, table: Asterisk, main: Callable[[AsteriskCarrier], Awaitable[None]]) -> None:
    async def whole(gateway: Gateway) -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0.0)
        calls = PhoneCalls(gateway.admission, Numbers.model_validate({"*": "desk"}), clock)
        carrier = AsteriskCarrier(table, AsteriskParts(calls, open_entrance(clock), lambda: False))
        await main(carrier)
        await carrier.close()
        assert len(carrier.registered) == 0

    within(folder, whole)


def test_with_a_login_asterisk_may_dial_a_socket_without_pings(tmp_path: Path) -> None:
    async def main(carrier: AsteriskCarrier) -> None:
        (route,) = carrier.media_routes()
        assert (route.path, route.subprotocols) == ("/telephony/asterisk/media", ("media",))
        assert route.limits.ping_idle_s is None
        assert route.hosts_public
        await carrier.registered.register("default", Registration(FACTS))
        assert carrier.counts() == {"registered_registered": 1}

    with_carrier(tmp_path, Asterisk(user="pbx", password=SecretStr("hush")), main)


def test_without_a_login_there_is_no_such_socket(tmp_path: Path) -> None:
    async def main(carrier: AsteriskCarrier) -> None:
        assert carrier.media_routes() == []

    with_carrier(tmp_path, Asterisk(), main)


@pytest.mark.parametrize(("media_url", "dials"), [(None, False), ("ws://127.0.0.1:1", True)])
def test_the_gateway_dials_only_where_the_settings_say_where(
    tmp_path: Path, media_url: str | None, dials: bool
) -> None:
    async def main(carrier: AsteriskCarrier) -> None:
        found = await carrier.registered.register("default", Registration(FACTS, "abc"))
        assert (found is NO_DIAL) is not dials
        assert isinstance(found, Refusal) is not dials

    with_carrier(tmp_path, Asterisk(media_url=media_url), main)
