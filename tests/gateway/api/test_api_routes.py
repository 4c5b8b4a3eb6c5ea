"""The HTTP API over a whole gateway that was never served: sessions, recordings, client secrets, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Gateway, Overrides
from gateway.clock import SystemClock
from gateway.ids import CountingIds
from gateway.settings import load_settings
from gateway.tools.pool import McpPool
from sessions.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    turn_document,
)
from sessions.record import CallSummary, Speaker, Turn, Utterance

AGENT = """
description: Answers as it is told.
model: scripted/scripts/one.yaml
instructions: Be brief.
"""
KEY = "test-key-of-thirty-two-characters"
RECORD = SessionRecord(
    tenant="default",
    session_id="sess_a",
    agent="one",
    agent_version="1",
    model="scripted/scripts/one.yaml",
    protocol="realtime",
    state=SessionState.ENDED,
    started_at=1000.0,
    ended_at=1010.0,
    summary=CallSummary(turns=1, end_reason="caller_hung_up", duration_ms=10_000),
    latencies_ms=(420,),
    recording=RecordingInfo(RecordingState.READY, stereo="recording.flac", rate_hz=24000, events="events.jsonl"),
    owner=Owner("1", "boot"),
)


def make_gateway(folder: Path, **settings: Any) -> Gateway:
    """A gateway with one scripted agent."""
    scripts = folder / "agents" / "scripts"
    scripts.mkdir(parents=True)
    (folder / "agents" / "one.yaml").write_text(AGENT)
    (scripts / "one.yaml").write_text("turns: [{say: Hello.}]")
    loaded = load_settings(environ={}, folder=folder, **settings)
    return Gateway(loaded, SystemClock(), CountingIds(), Overrides(inline=True, mcp=McpPool({})))


async def fill(gateway: Gateway, folder: Path) -> None:
    """One finished session, with a recording and an event log."""
    said = Utterance("i1", Speaker.CALLER, "Hello?", "Hello?", spoken=True, begin_ms=10)
    turn = Turn(0, 10, 900, [said], latency_ms=420, outcome="completed")
    await gateway.store.put(session_document(RECORD, ttl_s=None), None)
    await gateway.store.put(turn_document("default", "sess_a", turn, ttl_s=None), None)
    await gateway.store.put(session_document(replace(RECORD, tenant="other", session_id="sess_b"), ttl_s=None), None)
    for name, payload in (("recording.flac", b"fLaC..."), ("events.jsonl", b'{"schema":1}\n')):
        (folder / name).write_bytes(payload)
        await gateway.blobs.put_file("default", "sess_a", name, folder / name)


def served(folder: Path, scenario: Callable[[Gateway, httpx.AsyncClient], Awaitable[None]], **settings: Any) -> None:
    """Run a scenario against a running gateway."""

    async def main() -> None:
        gateway = make_gateway(folder, **settings)
        transport = httpx.ASGITransport(gateway.app)
        async with asyncio.timeout(20), gateway.running():
            await fill(gateway, folder)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                await scenario(gateway, client)

    asyncio.run(main())


def test_agents_are_listed_with_what_callers_need(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        [agent] = (await client.get("/api/v1/agents")).json()["agents"]
        assert (agent["name"], agent["available"], agent["model"]) == ("one", True, "scripted/scripts/one.yaml")

    served(tmp_path, scenario)


def test_a_session_is_listed_read_and_deleted_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        page = (await client.get("/api/v1/sessions")).json()
        assert [session["session_id"] for session in page["sessions"]] == ["sess_a"]
        one = (await client.get("/api/v1/sessions/sess_a")).json()
        assert (one["end_reason"], one["latencies_ms"], one["recording"]["state"]) == ("caller_hung_up", [420], "ready")
        transcript = (await client.get("/api/v1/sessions/sess_a/transcript")).json()
        assert transcript["turns"][0]["entries"][0]["text"] == "Hello?"
        recording = await client.get("/api/v1/sessions/sess_a/recording")
        assert (recording.content, recording.headers["content-type"]) == (b"fLaC...", "audio/flac")
        assert (await client.get("/api/v1/sessions/sess_a/events")).text == '{"schema":1}\n'
        assert (await client.delete("/api/v1/sessions/sess_a")).json() == {"session_id": "sess_a", "deleted": True}
        for path in ("", "/transcript", "/recording", "/events"):
            gone = await client.get(f"/api/v1/sessions/sess_a{path}")
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "session_not_found")
        assert not list((tmp_path / "data" / "blobs").rglob("*.flac"))

    served(tmp_path, scenario)


def test_a_tenant_does_not_see_another_tenants_session(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/sessions/sess_b")).status_code == 404
        assert (await client.delete("/api/v1/sessions/sess_b")).status_code == 404
        assert await gateway.store.get("other", "sess_b", "session")

    served(tmp_path, scenario)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=odd", "after=nonsense"])
def test_a_bad_query_is_refused_in_the_one_error_shape(tmp_path: Path, query: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.get(f"/api/v1/sessions?{query}")
        assert refused.status_code == 400
        assert {"type", "code", "message"} <= refused.json()["error"].keys()

    served(tmp_path, scenario)


def test_with_keys_nothing_is_told_without_one(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/agents")).status_code == 401
        assert (await client.get("/api/v1/agents", headers={"Authorization": "Bearer wrong"})).status_code == 401
        good = {"Authorization": f"Bearer {KEY}"}
        assert (await client.get("/api/v1/agents", headers=good)).status_code == 200
        assert (await client.get("/healthz")).status_code == 200

    served(tmp_path, scenario, api_keys=KEY)


def test_a_client_secret_opens_calls_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        good = {"Authorization": f"Bearer {KEY}"}
        wanted = {"session": {"type": "realtime", "model": "one"}, "expires_after": {"seconds": 60}}
        minted = await client.post("/v1/realtime/client_secrets", json=wanted, headers=good)
        assert minted.status_code == 200, minted.text
        secret = minted.json()
        assert secret["value"].startswith("ek_")
        assert secret["session"]["instructions"] == ""
        held = {"Authorization": f"Bearer {secret['value']}"}
        assert (await client.get("/api/v1/sessions", headers=held)).status_code == 403
        assert (await client.post("/v1/realtime/client_secrets", json=wanted, headers=held)).status_code == 403

    served(tmp_path, scenario, api_keys=KEY)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"session": {"model": "nobody"}}, "model_not_found"),
        ({"expires_after": {"seconds": 5}}, "invalid_value"),
        ({"session": {"type": "realtime", "model": "one", "output_modalities": ["smell"]}}, "invalid_value"),
        ({"session": "x"}, "invalid_value"),
    ],
)
def test_a_bad_wish_for_a_secret_is_refused(tmp_path: Path, wanted: dict[str, Any], code: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.post("/v1/realtime/client_secrets", json=wanted)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Host": "127.0.0.1.evil.example"}]
)
def test_other_hosts_and_origins_are_turned_away(tmp_path: Path, headers: dict[str, str]) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/agents", headers=headers)).status_code in (400, 403, 421)
        assert (await client.get("/", headers=headers)).status_code in (400, 403, 421)

    served(tmp_path, scenario)


def test_readiness_follows_the_life_of_the_server(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200
        gateway.drain.begin()
        drained = await client.get("/readyz")
        assert (drained.status_code, drained.json()) == (503, {"status": "draining"})
        assert (await client.get("/healthz")).status_code == 200
        assert "patchbay_live_calls 0" in (await client.get("/metrics")).text

    served(tmp_path, scenario)


def test_the_openapi_document_names_every_route_with_examples(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        document = (await client.get("/api/openapi.json")).json()
        assert {"/api/v1/agents", "/api/v1/sessions/{session_id}/recording", "/v1/realtime/client_secrets"} <= set(
            document["paths"]
        )
        assert document["components"]["schemas"]["SessionShape"]["properties"]["agent"]["examples"] == ["front-desk"]

    served(tmp_path, scenario)


def test_the_page_is_served_and_asks_nothing_of_other_hosts(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        page = await client.get("/")
        assert "Patchbay" in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("main.js", "call.js", "sound.js", "transcript.js", "worklets.js", "style.css"):
            part = await client.get(f"/{name}")
            assert part.status_code == 200
            assert "https://" not in part.text.replace('https:"', "")

    served(tmp_path, scenario)
