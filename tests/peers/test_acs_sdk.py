"""The SDK of Azure Communication Services against a stand-in on this machine: what it sends, and how it is bounded."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.callers.acs.actions import ActionFailed, Answering, Turndown
from gateway.callers.acs.key_set import MAX_BYTES
from gateway.callers.acs.sdk import SdkActions, fetch_keys
from gateway.clock import SystemClock

pytest.importorskip(
    "azure.communication.callautomation", reason="pip install azure-communication-callautomation==1.6.0"
)
pytestmark = pytest.mark.sockets

KEY = base64.b64encode(b"an access key of the resource").decode()
ANSWERING = Answering("the-context", "https://voice.example/callbacks/KEY", "wss://voice.example/media/TICKET")


class StandIn:
    """The service's REST interface. `answers` are given in order, the last one again and again; None: no answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, Any] | None] = [(200, {"callConnectionId": "conn", "correlationId": "corr"})]
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.sleep(60)
        status, content = answer or (500, {})  # after a minute without an answer, nobody is there any more
        return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")


def with_stand_in(main: Callable[[StandIn, SdkActions], Awaitable[None]], *, limit_s: float = 5.0) -> None:
    async def whole() -> None:
        stand_in = StandIn()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", stand_in.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        actions = SdkActions(stand_in.url, KEY, SystemClock(), answer_s=limit_s, hang_up_s=limit_s)
        try:
            async with asyncio.timeout(30):
                await main(stand_in, actions)
        finally:
            await actions.close()
            await runner.cleanup()

    asyncio.run(whole())


def signed_as_it_must_be(stand_in: StandIn) -> bool:
    """Whether the last request carries the signature of the access key."""
    method, target, headers, body = stand_in.asked[-1]
    content_hash = base64.b64encode(sha256(body).digest()).decode()
    signed = f"{method}\n{target}\n{headers['x-ms-date']};{stand_in.url.removeprefix('http://')};{content_hash}"
    mac = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), "sha256")).decode()
    return headers["Authorization"].endswith(f"&Signature={mac}")


def test_a_call_is_answered_with_sound_both_ways_and_keys() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        await actions.open()
        assert await actions.answer(ANSWERING) == "conn"
        ((method, target, headers, raw),) = stand_in.asked
        body = orjson.loads(raw)
        assert (method, target.partition("?")[0]) == ("POST", "/calling/callConnections:answer")
        assert (body["incomingCallContext"], body["callbackUri"]) == ("the-context", ANSWERING.callback_url)
        assert body["mediaStreamingOptions"] == {
            "transportUrl": ANSWERING.media_url,
            "transportType": "websocket",
            "contentType": "audio",
            "audioChannelType": "mixed",
            "startMediaStreaming": True,
            "enableBidirectional": True,
            "audioFormat": "pcm24KMono",
            "enableDtmfTones": True,
        }
        assert headers["Repeatability-Request-ID"]
        assert signed_as_it_must_be(stand_in)

    with_stand_in(main)


def test_a_call_is_hung_up_for_everybody_and_turned_down() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        stand_in.answers = [(204, {})]
        await actions.hang_up("conn/1")
        method, target, _, _ = stand_in.asked[-1]
        assert (method, target.partition("?")[0]) == ("POST", "/calling/callConnections/conn%2F1:terminate")
        assert signed_as_it_must_be(stand_in)
        await actions.turn_down("the-context", Turndown.BUSY)
        _, target, _, body = stand_in.asked[-1]
        assert target.partition("?")[0] == "/calling/callConnections:reject"
        assert orjson.loads(body) == {"incomingCallContext": "the-context", "callRejectReason": "busy"}

    with_stand_in(main)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_failure_that_may_pass_is_tried_once_more_under_the_same_id(status: int) -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        stand_in.answers = [(status, {}), (200, {"callConnectionId": "conn"})]
        assert await actions.answer(ANSWERING) == "conn"
        ids = {(asked[2]["Repeatability-Request-ID"], asked[2]["Repeatability-First-Sent"]) for asked in stand_in.asked}
        assert (len(stand_in.asked), len(ids)) == (2, 1)
        stand_in.answers = [(status, {})]
        with pytest.raises(ActionFailed) as found:
            await actions.answer(ANSWERING)
        assert (found.value.status, len(stand_in.asked)) == (status, 4)

    with_stand_in(main)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_final_and_its_words_are_not_kept(status: int) -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        stand_in.answers = [(status, {"error": {"code": "8522", "message": "call of +4930111 not found"}})]
        with pytest.raises(ActionFailed) as found:
            await actions.hang_up("conn")
        assert (found.value.status, len(stand_in.asked)) == (status, 1)
        assert "4930111" not in str(found.value)
        assert found.value.__cause__ is None

    with_stand_in(main)


def test_a_service_that_does_not_answer_costs_the_action_its_time() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        await actions.open()
        stand_in.answers = [None]
        begun = time.monotonic()
        with pytest.raises(ActionFailed) as found:
            await actions.answer(ANSWERING)
        assert 0.9 < time.monotonic() - begun < 3
        assert (found.value.status, len(stand_in.asked)) == (None, 2)

    with_stand_in(main, limit_s=1.0)


def test_a_first_try_that_is_not_answered_leaves_time_for_the_second() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        await actions.open()
        stand_in.answers = [None, (200, {"callConnectionId": "conn"})]
        assert await actions.answer(ANSWERING) == "conn"

    with_stand_in(main, limit_s=2.0)


def test_a_service_that_is_not_there_fails_the_action() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        nowhere = SdkActions("http://127.0.0.1:9", KEY, SystemClock(), hang_up_s=2.0)
        with pytest.raises(ActionFailed):
            await nowhere.hang_up("conn")
        await nowhere.close()

    with_stand_in(main)


def test_an_answer_without_an_id_is_an_answer() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        stand_in.answers = [(200, {})]
        assert await actions.answer(ANSWERING) is None

    with_stand_in(main)


def test_keys_are_fetched_within_a_bound_and_without_redirections() -> None:
    async def main(stand_in: StandIn, actions: SdkActions) -> None:
        stand_in.answers = [(200, {"keys": []})]
        assert await fetch_keys(f"{stand_in.url}/keys") == b'{"keys":[]}'
        for answer in ((200, "x" * MAX_BYTES), (404, {}), (302, {})):
            stand_in.answers = [answer]
            with pytest.raises(ValueError, match="keys"):
                await fetch_keys(f"{stand_in.url}/keys")

    with_stand_in(main)
