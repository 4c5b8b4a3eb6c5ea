"""Tests for the HTTP API of a whole gateway without a server: agents, sessions, recordings, probes, the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from support import virtual
from support.api_world import BEARER, KEY, served
from support.calls.call_rig import later

from gateway.app import Gateway
from gateway.tools.config import InProcessServer, McpServer
from gateway.tools.connection import AnswerBounds, McpTool
from gateway.tools.contract import ToolResult
from gateway.tools.function_runs import GRACE_S, MAX_OVERDUE, PROCESS
from gateway.tools.pool import McpPool
from sessions.errors import ToolFailed
from sessions.ports import JsonObject


def test_agents_are_listed_with_what_callers_need(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        [agent] = (await client.get("/api/v1/agents")).json()["agents"]
        assert (agent["name"], agent["available"], agent["model"]) == ("one", True, "scripted/scripts/one.yaml")

    served(tmp_path, scenario)


DESK = """
description: Takes bookings.
model: scripted/scripts/one.yaml
instructions: Be brief.
tools:
  - mcp: crm
  - {mcp: crm, allow: {find: {}}}
  - mcp: bookings
"""


class NoTools:
    """A connection to a tool server that has no tools."""

    async def list_tools(self) -> tuple[McpTool, ...]:
        return ()

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        raise AssertionError

    async def listen(self, look_again: Callable[[], None]) -> None:
        await asyncio.Event().wait()


def test_an_agent_names_its_tool_servers_that_are_down_and_why(tmp_path: Path) -> None:
    @asynccontextmanager
    async def dial(server: McpServer, bounds: AnswerBounds) -> AsyncIterator[NoTools]:
        if server.label == "crm":
            raise ToolFailed("its program ended with code 1")
        yield NoTools()

    pool = McpPool({label: InProcessServer(label, None) for label in ("crm", "bookings")}, dial=dial)

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await pool.settled(5000)
        agents = {agent["name"]: agent for agent in (await client.get("/api/v1/agents")).json()["agents"]}
        assert agents["one"]["tool_servers_down"] == []
        assert agents["desk"]["tool_servers_down"] == [{"server": "crm", "reason": "its program ended with code 1"}]
        assert agents["desk"]["available"]

    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    served(tmp_path, scenario, agents={"desk": DESK}, mcp=pool)


def test_a_session_is_listed_read_and_deleted_completely(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        page = (await client.get("/api/v1/sessions")).json()
        assert [session["session_id"] for session in page["sessions"]] == ["sess_a"]
        one = (await client.get("/api/v1/sessions/sess_a")).json()
        assert (one["end_reason"], one["latencies_ms"], one["recording"]["state"]) == ("caller_hung_up", [420], "ready")
        told = {"number": "+4930", "called": "+4989", "direction": "outbound", "metadata": {"order": "17"}}
        told |= {"carrier_call_id": "CA17", "language": None}
        assert one["caller"] == page["sessions"][0]["caller"] == told
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


def test_with_configured_keys_every_request_needs_one(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/agents")).status_code == 401
        assert (await client.get("/api/v1/agents", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await client.get("/api/v1/agents", headers=BEARER)).status_code == 200
        assert (await client.get("/healthz")).status_code == 200

    served(tmp_path, scenario, api_keys=KEY)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Host": "127.0.0.1.evil.example"}]
)
def test_other_hosts_and_origins_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/agents", headers=headers)).status_code in (400, 403, 421)
        assert (await client.get("/", headers=headers)).status_code in (400, 403, 421)

    served(tmp_path, scenario)


WELL = {"status": "ready", "store": "ok", "spooled_documents": 0, "problems": []}


def test_readiness_follows_the_phases_of_the_server(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200
        gateway.drain.begin()
        drained = await client.get("/readyz")
        assert (drained.status_code, drained.json()) == (503, {**WELL, "status": "draining"})
        assert (await client.get("/healthz")).status_code == 200
        assert "patchbay_draining 1.0" in (await client.get("/metrics")).text

    served(tmp_path, scenario)


def test_readiness_names_functions_that_do_not_return(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).json() == WELL
        for _ in range(MAX_OVERDUE):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await PROCESS.run("desk", "stubborn", stubborn, {})
        await later(GRACE_S + 0.1)
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        (problem,) = answer.json()["problems"]
        assert "stubborn of agent desk: 4 calls have not come back" in problem
        release.set()
        await later(0.1)
        assert (await client.get("/readyz")).json()["problems"] == []

    served(tmp_path, scenario, virtual.run)


def test_the_request_units_of_a_remote_store_are_shown(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert "patchbay_store_request_units_total{" not in (await client.get("/metrics")).text
        gateway.store_meter.request(6.25, throttled=True)
        figures = (await client.get("/metrics")).text.splitlines()
        assert 'patchbay_store_request_units_total{operation="other"} 6.25' in figures
        assert "patchbay_store_throttled_total 1.0" in figures

    served(tmp_path, scenario)


def test_the_page_is_served_and_uses_no_other_hosts(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        page = await client.get("/")
        assert "Patchbay" in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("main.js", "call.js", "sound.js", "transcript.js", "worklets.js", "style.css"):
            part = await client.get(f"/{name}")
            assert part.status_code == 200
            assert "https://" not in part.text.replace('https:"', "")

    served(tmp_path, scenario)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/api/v1/sessions/sess_a/recording"])
def test_head_is_answered_like_get_without_the_body(tmp_path: Path, path: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        whole, head = await client.get(path, headers=BEARER), await client.head(path, headers=BEARER)
        assert (head.status_code, head.content, whole.content == b"") == (200, b"", False)
        assert head.headers["content-length"] == whole.headers["content-length"]
        assert head.headers["content-type"] == whole.headers["content-type"]

    served(tmp_path, scenario, api_keys=KEY)


def test_head_needs_a_key_like_get(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.head("/api/v1/sessions")).status_code == 401
        assert (await client.head("/v1/realtime/client_secrets", headers=BEARER)).status_code == 405

    served(tmp_path, scenario, api_keys=KEY)
