"""From an admitted caller to a running call: who is let in, what is counted, and that refusals open nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from call_rig import later
from legs import MemoryLeg
from virtual import run

from gateway.app import Gateway, Overrides
from gateway.auth.requests import Fields, Headers, Refusal, UpgradeRequest
from gateway.clock import LoopClock
from gateway.ids import CountingIds
from gateway.settings import Settings
from gateway.switchboard import Ticket
from gateway.tools.config import InProcessServer, McpServer
from gateway.tools.connection import AnswerBounds, McpTool
from gateway.tools.contract import ToolResult
from gateway.tools.link import LinkTimes
from gateway.tools.pool import McpPool
from sessions.errors import WireError
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

DESK = """
model: scripted/scripts/desk.yaml
greeting: Hello there.
instructions: You are Zanzibar.
client_may_set: [max_output_tokens]
"""
LOCKED = "model: openai/gpt-realtime\ninstructions: None.\n"
TOOLED = "model: scripted/scripts/desk.yaml\ninstructions: None.\ntools: [{{mcp: {}}}]\n"
SCRIPT = "model: desk\notherwise: {say: Certainly.}\n"
FILES = {"desk.yaml": DESK, "scripts/desk.yaml": SCRIPT}


def wish(query: Mapping[str, str] | None = None, **headers: str) -> UpgradeRequest:
    """A request for a call to the agent `desk`, from this machine."""
    return UpgradeRequest(
        path="/v1/realtime",
        query=Fields({"model": "desk", **(query or {})}.items()),
        headers=Headers([("host", "127.0.0.1:8080"), *headers.items()]),
        subprotocols=(),
        peer="127.0.0.1",
        secure=False,
    )


@asynccontextmanager
async def opened(folder: Path, *, mcp: McpPool | None = None, **settings: Any) -> AsyncIterator[Gateway]:
    """A whole gateway in virtual time."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    if mcp is None:
        more = {"locked.yaml": LOCKED}
    else:  # the former would be made ready in a thread, during which no virtual time is true
        more = {f"{server}.yaml": TOOLED.format(server) for server in mcp.servers}
    for name, text in {**FILES, **more}.items():
        (folder / "agents" / name).write_text(text)
    given = Settings(
        data_dir=folder / "data",
        agents_dir=folder / "agents",
        plugins_dir=None,
        mcp_config=folder / "none.json",
        **settings,
    )
    clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
    gateway = Gateway(given, clock, CountingIds(), Overrides(inline=True, mcp=mcp))
    async with gateway.running():
        yield gateway


def within(
    folder: Path, main: Callable[[Gateway], Coroutine[Any, Any, None]], *, mcp: McpPool | None = None, **settings: Any
) -> None:
    async def whole() -> None:
        async with opened(folder, mcp=mcp, **settings) as gateway:
            await main(gateway)

    run(whole())


class Client:
    """A far end in memory: what it was told, and how it was closed."""

    def __init__(self, gateway: Gateway, ticket: Ticket) -> None:
        self.told: list[dict[str, Any]] = []
        self.closed: list[tuple[int, str]] = []
        accepted = gateway.switchboard.accept(ticket, wish())
        self.leg = MemoryLeg(accepted, self._take, lambda code, reason: self.closed.append((code, reason)))
        self.leg.open()

    def _take(self, message: bytes) -> None:
        self.told.append(orjson.loads(message))

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.told]


async def admitted(gateway: Gateway, request: UpgradeRequest) -> Ticket:
    ticket = await gateway.switchboard.admit(request)
    assert isinstance(ticket, Ticket), ticket
    return ticket


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({"model": "nobody"}, {}, (404, "model_not_found")),
        ({"model": ""}, {}, (404, "model_not_found")),
        ({"model": "locked"}, {}, (503, "agent_unavailable")),
        ({"intent": "transcription"}, {}, (400, "unsupported_parameter")),
        ({"call_id": "rtc_1"}, {}, (400, "unsupported_parameter")),
        ({}, {"origin": "https://evil.example"}, (403, "origin_not_allowed")),
        ({}, {"openai-beta": "realtime=v1"}, (400, "beta_api_shape_disabled")),
        ({}, {"authorization": "Bearer ek_AAAA"}, (401, "invalid_client_secret")),
    ],
)
def test_a_refusal_opens_and_counts_nothing(
    tmp_path: Path, query: dict[str, str], headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async def main(gateway: Gateway) -> None:
        refusal = await gateway.switchboard.admit(wish(query, **headers))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.code) == expected
        assert (gateway.switchboard.model_legs_opened, len(gateway.board)) == (0, 0)

    within(tmp_path, main)


def test_a_call_greets_its_client_before_the_model_is_there(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        client = Client(gateway, await admitted(gateway, wish()))
        assert client.kinds() == ["session.created"]
        assert gateway.switchboard.model_legs_opened == 0
        session = client.told[0]["session"]
        assert (session["model"], session["instructions"]) == ("desk", "")
        assert gateway.board.find("default", session["id"]) is not None
        await later(1)
        assert gateway.switchboard.model_legs_opened == 1
        assert "Zanzibar" not in str(client.told)
        client.leg.hang_up()
        await gateway.board.wait_empty()

    within(tmp_path, main)


def test_a_greeting_is_spoken_to_who_asks_for_it(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        silent = Client(gateway, await admitted(gateway, wish()))
        greeted = Client(gateway, await admitted(gateway, wish({"greeting": "1"})))
        await later(3)
        assert "response.created" not in silent.kinds()
        said = [event["transcript"] for event in greeted.told if event["type"].endswith("audio_transcript.done")]
        assert said == ["Hello there."]
        silent.leg.hang_up()
        greeted.leg.drop()
        await gateway.board.wait_empty()

    within(tmp_path, main)


def test_callers_whose_sockets_are_to_come_count_as_calls(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        first, second = await admitted(gateway, wish()), await admitted(gateway, wish())
        full = await gateway.switchboard.admit(wish())
        assert isinstance(full, Refusal)
        assert (full.status, full.code, full.retry_after_s) == (503, "server_full", 5)
        gateway.switchboard.abandon(first)  # the client went away
        client = Client(gateway, second)
        third = await admitted(gateway, wish())
        assert isinstance(await gateway.switchboard.admit(wish()), Refusal)
        gateway.switchboard.abandon(third)
        client.leg.hang_up()
        await gateway.board.wait_empty()
        for ticket in [await admitted(gateway, wish()) for _ in range(2)]:
            gateway.switchboard.abandon(ticket)

    within(tmp_path, main, max_calls=2)


def test_a_tenant_has_a_bound_of_its_own(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        ticket = await admitted(gateway, wish(authorization="Bearer one"))
        refusal = await gateway.switchboard.admit(wish(authorization="Bearer one"))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.code) == (429, "too_many_calls")
        other = await admitted(gateway, wish(authorization="Bearer two"))
        assert (ticket.caller.tenant, other.caller.tenant) == ("shop", "inn")
        gateway.switchboard.abandon(ticket)
        gateway.switchboard.abandon(other)

    within(tmp_path, main, max_tenant_calls=1, api_keys="shop:one,inn:two")


class Bell:
    """A tool server with one tool."""

    async def list_tools(self) -> tuple[McpTool, ...]:
        return (McpTool(ToolSpec("ring", "Ring.", {"type": "object", "properties": {}}), repeatable=True),)

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        raise AssertionError

    async def listen(self, look_again: Callable[[], None]) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def dial(server: McpServer, bounds: AnswerBounds) -> AsyncIterator[Bell]:
    """`slow` takes its time, `silent` never answers until it is given up, and then is there."""
    await later(1 if server.label == "slow" else 100)
    yield Bell()


def tool_servers(**times: int) -> McpPool:
    return McpPool(
        {label: InProcessServer(label, None) for label in ("silent", "slow")}, times=LinkTimes(**times), dial=dial
    )


def test_a_first_call_waits_for_the_tool_servers_of_its_own_agent_and_not_for_long(tmp_path: Path) -> None:
    waited: dict[str, float] = {}

    async def main(gateway: Gateway) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def call(name: str, agent: str) -> None:
            ticket = await admitted(gateway, wish({"model": agent}))
            waited[name] = loop.time() - begun
            gateway.switchboard.abandon(ticket)
            assert len(ticket.toolbox.specs) == (name == "slow")

        async with asyncio.TaskGroup() as tasks:
            for agent in ("desk", "slow", "silent"):
                tasks.create_task(call(agent, agent))
        begun = loop.time()
        await call("silent, once more", "silent")

    within(tmp_path, main, mcp=tool_servers())
    assert waited["desk"] < 0.1
    assert 1 <= waited["slow"] < 1.5
    assert 1.5 < waited["silent"] <= 3.1
    assert waited["silent, once more"] == 0


def test_what_an_agent_lacks_is_told_once_until_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def calls(gateway: Gateway) -> list[str]:
        caplog.clear()
        for _ in range(3):
            gateway.switchboard.abandon(await admitted(gateway, wish({"model": "silent"})))
        told = [line for line in caplog.records if line.name == "gateway.switchboard"]
        return [f"{line.message}: {line.__dict__.get('problem', '')}".rpartition(": ")[2] for line in told]

    async def main(gateway: Gateway) -> None:
        assert await calls(gateway) == ["not connected yet"]
        assert await calls(gateway) == []
        await later(10)
        assert await calls(gateway) == ["it did not answer in time"]
        await later(10)
        assert await calls(gateway) == []

    within(tmp_path, main, mcp=tool_servers(connect_ms=5_000))


def test_a_client_secret_brings_its_agent_and_its_defaults(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        board = gateway.switchboard
        secret = board.secret_session({"type": "realtime", "model": "desk", "max_output_tokens": 50})
        assert (secret.agent, secret.shown["max_output_tokens"]) == ("desk", 50)
        assert secret.defaults == {"type": "realtime", "max_output_tokens": 50}
        only = board.secret_session({})  # the other cannot be called
        assert (only.agent, only.defaults, only.shown["model"]) == ("desk", None, "desk")
        wishes: list[tuple[dict[str, Any], str]] = [
            ({"type": "realtime", "model": "nobody"}, "session.model"),
            ({"type": "realtime", "max_output_tokens": -1}, "session.max_output_tokens"),
        ]
        for wish_for_one, param in wishes:
            with pytest.raises(WireError) as problem:
                board.secret_session(wish_for_one)
            assert problem.value.param == param

    within(tmp_path, main)


def test_calls_are_told_goodbye_when_the_gateway_closes(tmp_path: Path) -> None:
    clients: list[Client] = []

    async def main(gateway: Gateway) -> None:
        clients.append(Client(gateway, await admitted(gateway, wish())))
        await later(1)

    within(tmp_path, main)
    assert clients[0].closed == [(1001, "the server is going down")]
