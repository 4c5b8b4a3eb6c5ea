"""A call that is ended through its carrier's own API."""

from __future__ import annotations

import asyncio
import logging

import httpx2
import pytest
from support.calls.call_rig import later
from support.calls.twilio_world import SIGNALWIRE, TOKEN, TWILIO
from support.virtual import run

from gateway.callers.phone.counts import CarrierCounts
from gateway.callers.twilio.account import Account
from gateway.callers.twilio.rest import REST_S, RestHangUp


def asked(account: Account, answer: httpx2.Response | Exception) -> tuple[list[httpx2.Request], CarrierCounts]:
    """Hang one call up, and return what the carrier was asked."""
    requests: list[httpx2.Request] = []
    counts = CarrierCounts(account.name)

    def answers(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> None:
        rest = RestHangUp(account, counts, httpx2.MockTransport(answers))
        await rest("CA/0?1")
        await rest.close()

    run(main())
    return requests, counts


@pytest.mark.parametrize(
    ("account", "url"),
    [
        (TWILIO, "https://api.twilio.com/2010-04-01/Accounts/AC01/Calls/CA%2F0%3F1.json"),
        (SIGNALWIRE, "https://space.example/api/laml/2010-04-01/Accounts/7d1c-aa/Calls/CA%2F0%3F1.json"),
    ],
)
def test_the_call_is_set_to_completed(account: Account, url: str) -> None:
    (request,), counts = asked(account, httpx2.Response(200, json={}))
    assert (request.method, str(request.url), request.content) == ("POST", url, b"Status=completed")
    assert request.headers["authorization"].startswith("Basic ")
    assert counts.items() == [((account.name, "rest_hung_up"), 1)]


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (httpx2.Response(404, json={"code": 20404}), "rest_was_over"),
        (httpx2.Response(401), "rest_refused"),
        (httpx2.Response(302, headers={"location": "https://elsewhere.example/"}), "rest_refused"),
        (httpx2.Response(500), "rest_refused"),
        (httpx2.ConnectError("nobody there"), "rest_failed"),
    ],
)
def test_what_became_of_it_is_counted_and_nothing_is_raised(
    answer: httpx2.Response | Exception, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    requests, counts = asked(TWILIO, answer)
    assert (len(requests), counts.of(event)) == (1, 1)
    assert TOKEN not in caplog.text


def test_a_carrier_that_does_not_answer_costs_five_seconds() -> None:
    counts = CarrierCounts("twilio")

    async def never(request: httpx2.Request) -> httpx2.Response:
        await later(600)
        return httpx2.Response(200)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await RestHangUp(TWILIO, counts, httpx2.MockTransport(never))("CA01")
        return loop.time() - begun_s

    assert run(main()) == pytest.approx(REST_S, abs=0.01)
    assert counts.of("rest_failed") == 1
