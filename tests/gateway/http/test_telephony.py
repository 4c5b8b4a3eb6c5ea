"""Carriers' HTTP routes: the raw body, its bounds, hosts and origins, and what stays in order around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from support.api_world import KEY, make_gateway

from gateway.app import Gateway
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.http import RequireCaller
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, read_public
from gateway.auth.ticket_errors import TicketRefused
from gateway.clock import SystemClock
from gateway.config.settings import load_settings
from gateway.http.app import WebParts, make_app
from gateway.http.telephony import CarrierRoute, carrier_routes

PUBLIC = "https://voice.example"
FORM = b"CallSid=CA1&To=%2B49&Empty=&To=%2B50"


class Carrier:
    """A carrier whose routes keep what they get."""

    def __init__(self, entrance: Entrance) -> None:
        self._require = RequireCaller(entrance)
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        self.read: list[str] = []

    def http_routes(self) -> Sequence[CarrierRoute]:
        return [
            CarrierRoute("/telephony/x/voice", self.voice),
            CarrierRoute("/telephony/x/callbacks/{key}", self.callback),
            CarrierRoute("/telephony/x/calls", self.voice, before=self._require),
            CarrierRoute("/telephony/x/broken", self.broken),
        ]

    async def voice(self, request: Request, body: bytes) -> Response:
        self.bodies.append(body)
        return Response(b"<Response/>", media_type="application/xml")

    async def callback(self, request: Request, body: bytes) -> Response:
        self.keys.append(request.path_params["key"])
        return Response(status_code=204)

    async def broken(self, request: Request, body: bytes) -> Response:
        raise ZeroDivisionError


async def elsewhere(boot: str | None) -> bool:
    return False


def carried(folder: Path, scenario: Callable[[httpx.AsyncClient, Carrier], Awaitable[None]], *keys: str) -> None:
    """Run a scenario against the whole application, with a carrier's routes, under the public address."""

    async def main() -> None:
        gateway = make_gateway(folder)
        known = read_keys(keys)
        rules = OriginRules(credentials=bool(known), allowed_origins=frozenset({"*"}), public=read_public(PUBLIC))
        secrets = ClientSecrets(b"s" * 32)
        entrance = Entrance(rules, known, secrets, SystemClock())
        carrier = Carrier(entrance)
        settings = load_settings({}, Path("/nowhere"), max_body_bytes=1024)
        parts = WebParts(gateway, rules, entrance, secrets, SystemClock(), settings, elsewhere, [carrier])
        app = make_app(parts, gateway.running)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1), raise_app_exceptions=False)
        async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            await scenario(client, carrier)

    asyncio.run(main())


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "text/x; a=b", ""])
def test_the_body_arrives_as_it_was_sent(tmp_path: Path, kind: str) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        answer = await client.post("/telephony/x/voice?a=1", content=FORM, headers={"content-type": kind})
        assert (answer.status_code, answer.content) == (200, b"<Response/>")
        assert (await client.post("/telephony/x/voice", content=b"\xff\0")).status_code == 200
        assert carrier.bodies == [FORM, b"\xff\0"]

    carried(tmp_path, scenario)


def test_a_body_that_is_too_large_is_refused_before_the_handler(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        assert error(await client.post("/telephony/x/voice", content=b"x" * 1025)) == (413, "body_too_large")
        assert carrier.bodies == []

    carried(tmp_path, scenario)


def test_a_part_of_the_path_may_vary(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        assert (await client.post("/telephony/x/callbacks/abc-_1")).status_code == 204
        assert error(await client.post("/telephony/x/callbacks/a/b"))[0] in (404, 405)
        assert carrier.keys == ["abc-_1"]

    carried(tmp_path, scenario)


def test_other_hosts_and_pages_are_refused_and_no_page_may_read_an_answer(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        path = "/telephony/x/voice"
        assert error(await client.post(path, headers={"host": "evil.example"})) == (403, "host_not_allowed")
        foreign = {"origin": "https://evil.example"}
        assert error(await client.post(path, headers=foreign)) == (403, "origin_not_allowed")
        own = await client.post(path, headers={"origin": PUBLIC})
        assert own.status_code == 200
        asked = {"origin": PUBLIC, "access-control-request-method": "POST"}
        preflight = await client.options(path, headers=asked)
        assert preflight.status_code == 405
        assert not [name for answer in (own, preflight) for name in answer.headers if name.startswith("access-control")]
        assert error(await client.get("/api/v1/agents")) == (403, "host_not_allowed")

    carried(tmp_path, scenario)


def test_wrong_methods_and_paths_and_broken_handlers_get_the_usual_answers(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        assert error(await client.get("/telephony/x/voice")) == (405, "method_not_allowed")
        assert error(await client.get("/telephony/y/voice")) == (404, "path_not_found")
        assert error(await client.post("/telephony/x/broken")) == (500, "internal_error")

    carried(tmp_path, scenario)


def test_a_route_may_require_a_key_before_it_reads_a_body(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        async def unread() -> Any:
            raise AssertionError("the body is not wanted")
            yield b""

        assert error(await client.post("/telephony/x/calls", content=unread())) == (401, "missing_api_key")
        answer = await client.post("/telephony/x/calls", headers={"authorization": f"Bearer {KEY}"}, content=FORM)
        assert (answer.status_code, carrier.bodies) == (200, [FORM])

    carried(tmp_path, scenario, KEY)


def test_a_carrier_that_hangs_up_in_its_body_is_no_fault(tmp_path: Path) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def nothing(message: Any) -> None:
        pass

    async def main() -> None:
        carrier = Carrier(Entrance(OriginRules(credentials=False), read_keys([]), ClientSecrets(b"s"), SystemClock()))
        route = carrier_routes([carrier])[0]
        scope = {"type": "http", "path": "/telephony/x/voice", "method": "POST", "headers": []}
        await route.handle(scope, gone, nothing)
        assert carrier.bodies == []

    asyncio.run(main())


def test_routes_of_carriers_are_not_in_the_document_for_people(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, carrier: Carrier) -> None:
        document = (await client.get("/api/openapi.json", headers={"host": "localhost"})).json()
        assert not [path for path in document["paths"] if path.startswith("/telephony")]

    carried(tmp_path, scenario)


def test_a_path_outside_the_carriers_own_is_a_mistake() -> None:
    class Stray:
        def http_routes(self) -> Sequence[CarrierRoute]:
            async def never(request: Request, body: bytes) -> Response:
                raise AssertionError

            return [CarrierRoute("/api/x", never)]

    with pytest.raises(ValueError, match="must begin with /telephony/"):
        carrier_routes([Stray()])


def test_the_server_says_which_numbers_lead_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        gateway = make_gateway(tmp_path, numbers="*=one, 100=nobody, 101=nobody", public_url=PUBLIC)
        transport = httpx.ASGITransport(gateway.app)
        async with gateway.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            told = (await client.get("/readyz")).json()
            assert told["problems"] == ["numbers lead to the agent nobody, which does not exist"]
            assert told["status"] == "ready"
            await refuse_a_ticket(gateway)
            figures = (await client.get("/metrics")).text
            assert 'patchbay_tickets_refused_total{carrier="twilio",reason="malformed"} 1.0\n' in figures

    asyncio.run(main())
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [vars(record)["agent"] for record in warned if "numbers lead" in record.message] == ["nobody"]


async def refuse_a_ticket(gateway: Gateway) -> None:
    with pytest.raises(TicketRefused):
        gateway.tickets.media.take("none", carrier="twilio", now_s=0.0)
