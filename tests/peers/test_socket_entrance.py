"""Admission in front of a real media socket: a refused caller has opened nothing behind it."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, route_to, run, serving, upgrade_head

from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.entrance import Caller, Entrance, Quota, admit_call
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.callers.realtime.open import BETA, asks_for_beta
from gateway.clock import SystemClock
from gateway.net.media_routes import Accepted, MediaRoute
from gateway.net.server import Drain

pytestmark = pytest.mark.sockets

KEYS = read_keys(["acme:k-1"])
SECRETS = ClientSecrets(derive_signing_key(KEYS.material()))
OLD = SECRETS.mint(tenant="acme", agent="a", session=None, now_s=time.time() - 700, life_s=600)[0]
GOOD = SECRETS.mint(tenant="acme", agent="a", session=None, now_s=time.time(), life_s=7200)[0]


class CountingGateway:
    """Counts the model legs that callers cause to be opened."""

    def __init__(self) -> None:
        self.model_legs = 0
        self.entrance = Entrance(OriginRules(credentials=True), KEYS, SECRETS, SystemClock())
        self.quota = Quota(lambda: self.model_legs, lambda tenant: self.model_legs, 2, 2)

    async def admit(self, request: UpgradeRequest) -> Caller | Refusal:
        caller = self.entrance.let_in(request, client_secrets=True)
        if isinstance(caller, Refusal):
            return caller
        if asks_for_beta(request):
            return BETA
        return admit_call(caller, request.query.get("model"), self.quota, lambda caller, agent: None) or caller

    def accept(self, caller: Caller, request: UpgradeRequest) -> Accepted:
        self.model_legs += 1
        return Accepted(CapturingReceiver())

    def route(self) -> MediaRoute[Caller]:
        return MediaRoute("/media", self.admit, self.accept, lambda caller: None)


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no key": (upgrade_head(), 401, "missing_api_key"),
    "a bad key": (upgrade_head(authorization="Bearer nope"), 401, "invalid_api_key"),
    "an expired secret": (upgrade_head(authorization=f"Bearer {OLD}"), 401, "client_secret_expired"),
    "another agent": (upgrade_head("/media?model=b", authorization=f"Bearer {GOOD}"), 403, "agent_not_allowed"),
    "another origin": (
        upgrade_head(authorization="Bearer k-1", origin="https://evil.example"),
        403,
        "origin_not_allowed",
    ),
    "no host": (upgrade_head(authorization="Bearer k-1", host=None), 403, "host_not_allowed"),
    "the beta": (upgrade_head(api_key="k-1", openai_beta="realtime=v1"), 400, "beta_api_shape_disabled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_callers_open_nothing(case: str, wire: Wire) -> None:
    head, expected, code = REFUSED[case]

    async def main() -> None:
        gateway = CountingGateway()
        async with serving([gateway.route()]) as server:
            raw = await Raw.connect(server.bound_port)
            status, _ = await raw.ask(head)
            body = await raw.reader.read()
            assert (status, orjson.loads(body)["error"]["code"]) == (expected, code)
            assert b"nope" not in body
        assert gateway.model_legs == 0

    run(main, wire)


def test_admitted_callers_open_a_leg_and_the_key_is_not_sent_back(wire: Wire) -> None:
    async def main() -> None:
        gateway = CountingGateway()
        async with serving([gateway.route()]) as server:
            offered = f"realtime, openai-insecure-api-key.{GOOD}, openai-agents-sdk.1"
            for head in (upgrade_head(sec_websocket_protocol=offered), upgrade_head(authorization="Bearer k-1")):
                raw = await Raw.connect(server.bound_port)
                status, answer = await raw.ask(head)
                assert status == 101
                assert "openai-insecure" not in answer
                assert ("Sec-WebSocket-Protocol: realtime\r\n" in answer) == (b"realtime" in head)
            assert gateway.model_legs == 2
            late = await Raw.connect(server.bound_port)
            assert (await late.ask(upgrade_head(authorization="Bearer k-1")))[0] == 503

    run(main, wire)


def test_a_drain_that_begins_during_admission_revokes_it(wire: Wire) -> None:
    async def main() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()
        back: list[str] = []
        drain = Drain()

        async def admit(request: UpgradeRequest) -> str | Refusal:
            asked.set()
            await go_on.wait()
            return "admitted"

        async with serving([route_to(CapturingReceiver(), admit=admit, release=back.append)], drain=drain) as server:
            raw = await Raw.connect(server.bound_port)
            raw.writer.write(upgrade_head())
            await asked.wait()
            drain.begin()
            go_on.set()
            assert (await raw.ask(b""))[0] == 503
        assert back == ["admitted"]

    run(main, wire)
