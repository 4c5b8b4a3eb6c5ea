"""Callers that are refused get a reason and nothing internal, before any connection to a model is opened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import calling, refused, run
from peers.server_files import KEY, SECRETS
from peers.server_process import ROOT, Server, serving

from gateway.auth.client_secrets import ClientSecrets, derive_signing_key

pytestmark = pytest.mark.sockets

SIGNING = "a signing secret of more than 32 characters"
KEYED = {
    "PATCHBAY_API_KEYS": KEY,
    "PATCHBAY_CLIENT_SECRET_KEY": SIGNING,
    "PATCHBAY_MAX_CALLS": "2",
    "PATCHBAY_MAX_TENANT_CALLS": "1",
}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that requires a key."""
    with serving(tmp_path_factory.mktemp("keyed"), **KEYED) as server:
        yield server


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys, as on a developer's machine."""
    with serving(tmp_path_factory.mktemp("open")) as server:
        yield server


def check(server: Server, expected: tuple[int, str], agent: str = "desk", **given: Any) -> dict[str, Any]:
    """The call is refused with this status and code, shows nothing internal, and no model leg was opened."""
    status, problem = run(lambda: refused(server, agent, **given))
    assert (status, problem["code"]) == expected
    assert set(problem) == {"type", "code", "message", "param"}
    shown = json.dumps(problem)
    for inner in (str(ROOT), str(server.folder), "Traceback", ".py", "scripted", *SECRETS):
        assert inner not in shown
    assert server.figure("model_legs_opened_total") == 0
    assert server.figure("live_calls") == 0
    return problem


def minted(*, agent: str | None, age_s: float = 0.0) -> dict[str, str]:
    """A header with a client secret that was created `age_s` ago."""
    secrets = ClientSecrets(derive_signing_key(SIGNING.encode()))
    value, _ = secrets.mint(tenant="default", agent=agent, session=None, now_s=time.time() - age_s, life_s=60)
    return {"Authorization": f"Bearer {value}"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_page_from_another_origin(keyed: Server, open_door: Server) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        check(open_door, (403, "origin_not_allowed"), headers={"Origin": origin})
        check(keyed, (403, "origin_not_allowed"), headers={"Origin": origin, **bearer(KEY)})


def test_a_wrong_host_without_keys(open_door: Server) -> None:
    check(open_door, (403, "host_not_allowed"), name="rebound.example")
    status, answer = open_door.ask("/api/v1/agents", headers={"Host": "rebound.example"})
    assert (status, answer["error"]["code"]) == (403, "host_not_allowed")


def test_a_bad_key_and_none(keyed: Server) -> None:
    check(keyed, (401, "invalid_api_key"), headers=bearer("sk-narwhal-0001"))
    check(keyed, (401, "missing_api_key"), headers={"X-Nothing": "here"})
    check(keyed, (400, "ambiguous_credentials"), headers={**bearer(KEY), "api-key": "sk-narwhal-0001"})
    assert keyed.ask("/api/v1/agents", headers=bearer("sk-narwhal-0001"))[0] == 401


def test_client_secrets_that_are_not_valid_here(keyed: Server) -> None:
    check(keyed, (401, "client_secret_expired"), headers=minted(agent="desk", age_s=61))
    check(keyed, (401, "invalid_client_secret"), headers=bearer("ek_AAAA"))
    forged = ClientSecrets(b"another key").mint(tenant="default", agent=None, session=None, now_s=time.time())[0]
    check(keyed, (401, "invalid_client_secret"), headers=bearer(forged))
    check(keyed, (403, "agent_not_allowed"), headers=minted(agent="bulk"))
    assert keyed.ask("/api/v1/sessions", headers=minted(agent="desk"))[0] == 403


def test_an_agent_that_is_unknown_or_cannot_be_called(keyed: Server) -> None:
    check(keyed, (404, "model_not_found"), agent="nobody")
    check(keyed, (404, "model_not_found"), agent="../desk")
    problem = check(keyed, (503, "agent_unavailable"), agent="locked")
    assert problem["message"] == "The agent cannot be called: OPENAI_API_KEY is not set."
    _, listed = keyed.ask("/api/v1/agents")
    shown = {agent["name"]: (agent["available"], agent["reason"]) for agent in listed["agents"]}
    assert shown["locked"] == (False, "OPENAI_API_KEY is not set")
    assert shown["desk"] == (True, None)


def test_the_beta_protocol_and_other_kinds_of_session(keyed: Server) -> None:
    check(keyed, (400, "beta_api_shape_disabled"), headers={"OpenAI-Beta": "realtime=v1", **bearer(KEY)})
    check(keyed, (400, "unsupported_parameter"), intent="transcription")
    check(keyed, (400, "unsupported_parameter"), call_id="rtc_1")


def test_too_many_calls(keyed: Server) -> None:
    async def main() -> None:
        async with calling(keyed) as caller:
            await caller.turn("ping")
            status, problem = await refused(keyed)
            assert (status, problem["code"], problem["type"]) == (429, "too_many_calls", "rate_limit_error")
        # The secret itself is valid once a call may be made again.
        while keyed.figure("live_calls"):
            pass
        async with calling(keyed, headers=minted(agent="desk")) as caller:
            await caller.turn("ping")

    run(main)
    assert keyed.figure("model_legs_opened_total") == 2


def test_a_full_server(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with calling(server):
            status, problem = await refused(server)
            assert (status, problem["code"]) == (503, "server_full")

    with serving(tmp_path, PATCHBAY_MAX_CALLS="1") as server:
        run(lambda: main(server))
        assert server.figure("model_legs_opened_total") == 1


def test_no_secret_of_these_calls_is_logged(keyed: Server, open_door: Server) -> None:
    for server in (keyed, open_door):
        for word in (*SECRETS, "ek_", "evil.example"):
            assert word not in server.log()
