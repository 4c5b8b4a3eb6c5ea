"""The HTTP route on which a dialplan announces a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from support.api_world import make_gateway

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules
from gateway.callers.asterisk.registered import RegisteredCalls
from gateway.callers.asterisk.routes import PATH, AsteriskRoutes
from gateway.callers.phone.calls import PhoneCalls
from gateway.clock import SystemClock
from gateway.config.numbers import Numbers
from gateway.config.settings import load_settings
from gateway.http.app import WebParts, make_app

ONE, OTHER = "key-of-the-pbx-with-many-letters", "key-of-another-tenant-with-letters"
FORM = {"caller": "+4930111", "called": "222", "channel": "17.1"}


class Desk:
    """The route of a whole application."""

    def __init__(self, client: httpx.AsyncClient, registered: RegisteredCalls) -> None:
        self.client = client
        self.registered = registered
        self.draining = False

    async def ask(self, key: str | None = ONE, **changed: str) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.post(PATH, data={**FORM, **changed}, headers=headers)


async def elsewhere(boot: str | None) -> bool:
    return False


def with_desk(folder: Path, scenario: Callable[[Desk], Awaitable[None]], **options: int) -> None:
    async def main() -> None:
        gateway = make_gateway(folder, **options)
        keys = read_keys([f"pbx:{ONE}", f"other:{OTHER}"])
        rules, secrets, clock = OriginRules(credentials=True), ClientSecrets(b"s" * 32), SystemClock()
        entrance = Entrance(rules, keys, secrets, clock)
        calls = PhoneCalls(gateway.admission, Numbers.model_validate({"222": "one"}), clock)
        registered = RegisteredCalls(calls, lambda: desk.draining)
        routes = AsteriskRoutes(registered, entrance, "pbx")
        settings = load_settings({}, Path("/nowhere"), max_body_bytes=1024)
        parts = WebParts(gateway, rules, entrance, secrets, clock, settings, elsewhere, [routes])
        app = make_app(parts, gateway.running)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with (
            asyncio.timeout(20),
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            desk = Desk(client, registered)
            await scenario(desk)
            registered.close()

    asyncio.run(main())


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_dialplan_gets_a_uuid_as_plain_text(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        answer = await desk.ask()
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        call = desk.registered.take(UUID(answer.text))
        assert call is not None
        assert (call.facts.number, call.facts.called, call.facts.carrier_call_id) == ("+4930111", "222", "17.1")
        assert call.ticket.caller.tenant == "pbx"

    with_desk(tmp_path, scenario)


def test_every_refusal_has_a_status_of_its_own(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert error(await desk.ask(None)) == (401, "missing_api_key")
        assert error(await desk.ask("another-key-that-nobody-knows-at-all")) == (401, "invalid_api_key")
        assert error(await desk.ask(OTHER)) == (403, "wrong_tenant")
        assert error(await desk.ask(called="333")) == (404, "number_not_found")
        assert error(await desk.ask(called="")) == (400, "invalid_value")
        assert error(await desk.ask(media_id="abc")) == (400, "media_id_not_supported")
        assert (await desk.ask()).status_code == 200
        assert error(await desk.ask()) == (503, "server_full")
        desk.draining = True
        assert error(await desk.ask()) == (503, "draining")
        assert len(desk.registered) == 1

    with_desk(tmp_path, scenario, max_calls=1)


def test_a_request_without_a_key_is_refused_before_its_body_is_read(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        answer = await desk.client.post(PATH, content=b"x" * 5000)
        assert error(answer) == (401, "missing_api_key")
        assert desk.registered.counts["refused_missing_api_key"] == 1

    with_desk(tmp_path, scenario)


def test_no_number_reaches_a_log_or_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario(desk: Desk) -> None:
        for changed in ({}, {"called": "493044455566"}, {"caller": "4930444555\x00"}, {"media_id": "4930444/5"}):
            answer = await desk.ask(**changed)
            assert "4930" not in answer.text or answer.status_code == 200
        assert desk.registered.counts["refused_bad_form"] == 2

    with_desk(tmp_path, scenario)
    assert "4930" not in caplog.text
