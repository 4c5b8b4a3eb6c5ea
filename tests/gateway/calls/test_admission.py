"""From an identified caller to a running call: who is let in, and what counts as a call until it begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.calls.call_rig import Phone, later
from support.calls.first_message import ANYBODY, FIRST_MESSAGE_MS, FirstMessageLeg, FirstMessageOpener
from support.calls.legs import MemoryLeg
from support.calls.whole_gateway import wish, within

from gateway.app import Gateway
from gateway.auth.entrance import KeyKind
from gateway.auth.requests import Refusal
from gateway.callers.realtime.new_session import session_with
from gateway.calls.admission import CallPlan, Ticket
from gateway.clock import SystemClock
from gateway.tools.config import InProcessServer, McpServer
from gateway.tools.connection import AnswerBounds, McpTool
from gateway.tools.contract import ToolResult
from gateway.tools.link import LinkTimes
from gateway.tools.pool import McpPool
from sessions.caller_facts import UNKNOWN_CALLER
from sessions.ports import JsonObject
from sessions.setup import ToolSpec
from sessions.stores.contract import Missing
from sessions.stores.documents import SESSION_ID

SHOP = replace(ANYBODY, tenant="shop", key_kind=KeyKind.API_KEY)
SECRET = replace(ANYBODY, key_kind=KeyKind.CLIENT_SECRET, agent="desk")
FIRST = orjson.dumps({"from": "+4930", "to": "+4989", "notes": {"order": "17", "odd": 5}})
ASKING = {
    "asking.yaml": "model: scripted/scripts/asking.yaml\n"
    "instructions: '{caller.number} calls.'\n"
    "tools: [{function: who_calls}]\n",
    "scripts/asking.yaml": "turns: [{calls: [{name: who_calls, arguments: {}}]}, {say: Thank you.}]\n",
}
PLUGIN = '''
from patchbay import ToolContext, tool


@tool
async def who_calls(context: ToolContext) -> str:
    """Who calls."""
    caller = context.caller
    return f"{caller['number']} {caller.called} {caller.direction} {caller.metadata['order']}"
'''


async def let_in(gateway: Gateway, agent: str | None = "desk", caller: Any = ANYBODY) -> Ticket:
    ticket = await gateway.admission.admit(caller, agent)
    assert isinstance(ticket, Ticket), ticket
    return ticket


async def refused(gateway: Gateway, agent: str | None = "desk", caller: Any = ANYBODY) -> tuple[int, str]:
    refusal = await gateway.admission.admit(caller, agent)
    assert isinstance(refusal, Refusal), refusal
    return refusal.status, refusal.code


def begin(gateway: Gateway, ticket: Ticket) -> Phone:
    """Begin the call of a ticket on a leg without a socket."""
    session = session_with(ticket.agent, ticket.toolbox, ticket.session_id, UNKNOWN_CALLER, SystemClock())
    leg = Phone()
    plan = CallPlan("test", session.setup(), greet=False, client_plays=True)
    gateway.admission.begin(ticket, UNKNOWN_CALLER, leg, plan)
    return leg


async def hang_up(gateway: Gateway, ticket: Ticket) -> None:
    live = gateway.live_calls.find(ticket.caller.tenant, ticket.session_id)
    assert live is not None
    live.running.hang_up("test_over")
    await gateway.live_calls.wait_empty()


# ---- who is let in


@pytest.mark.parametrize(
    ("agent", "caller", "expected"),
    [
        ("nobody", ANYBODY, (404, "model_not_found")),
        (None, ANYBODY, (404, "model_not_found")),
        ("locked", ANYBODY, (503, "agent_unavailable")),
        ("locked", SECRET, (403, "agent_not_allowed")),
    ],
)
def test_a_refused_call_counts_for_nothing(
    tmp_path: Path, agent: str | None, caller: Any, expected: tuple[int, str]
) -> None:
    async def main(gateway: Gateway) -> None:
        assert await refused(gateway, agent, caller) == expected
        assert (gateway.admission.model_legs_opened, len(gateway.live_calls)) == (0, 0)
        gateway.admission.release(await let_in(gateway))  # the only place is free

    within(tmp_path, main, max_calls=1)


def test_a_client_secret_names_the_agent_where_the_request_does_not(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        ticket = await let_in(gateway, None, SECRET)
        assert ticket.agent.name == "desk"
        gateway.admission.release(ticket)

    within(tmp_path, main)


# ---- what counts as a call


def test_admitted_callers_count_as_calls_until_they_are_begun_or_released(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        first, second = await let_in(gateway), await let_in(gateway)
        full = await gateway.admission.admit(ANYBODY, "desk")
        assert isinstance(full, Refusal)
        assert (full.status, full.code, full.retry_after_s) == (503, "server_full", 5)
        gateway.admission.release(first)
        begin(gateway, second)
        third = await let_in(gateway)
        assert await refused(gateway) == (503, "server_full")
        gateway.admission.release(third)
        await hang_up(gateway, second)
        for ticket in [await let_in(gateway) for _ in range(2)]:
            gateway.admission.release(ticket)

    within(tmp_path, main, max_calls=2)


def test_a_tenant_has_a_bound_of_its_own(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        ticket = await let_in(gateway, caller=SHOP)
        assert await refused(gateway, caller=SHOP) == (429, "too_many_calls")
        other = await let_in(gateway)
        begin(gateway, ticket)
        assert await refused(gateway, caller=SHOP) == (429, "too_many_calls")
        gateway.admission.release(other)
        await hang_up(gateway, ticket)
        gateway.admission.release(await let_in(gateway, caller=SHOP))

    within(tmp_path, main, max_tenant_calls=1)


def test_a_ticket_is_used_once(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        ticket, other = await let_in(gateway), await let_in(gateway)
        begin(gateway, ticket)
        gateway.admission.release(ticket)  # as a socket may that is lost in the same moment
        assert await refused(gateway) == (503, "server_full")
        gateway.admission.release(other)
        gateway.admission.release(other)
        for used in (ticket, other):
            with pytest.raises(AssertionError):
                begin(gateway, used)
        assert len(gateway.live_calls) == 1
        gateway.admission.release(await let_in(gateway))
        await hang_up(gateway, ticket)

    within(tmp_path, main, max_calls=2)


# ---- a call that begins after its socket has opened


class Line:
    """A far end of the made-up protocol, with its leg here."""

    def __init__(self, opener: FirstMessageOpener, ticket: Ticket) -> None:
        self.closed: list[tuple[int, str]] = []
        accepted = opener.accept(ticket, wish())
        self.leg: FirstMessageLeg = opener.legs[-1]
        self.far = MemoryLeg(accepted, lambda message: None, lambda code, reason: self.closed.append((code, reason)))
        self.far.open()


async def dialled(gateway: Gateway, agent: str = "desk") -> Line:
    """A far end whose socket is open, and which has not said anything."""
    opener = FirstMessageOpener(gateway)
    ticket = await opener.admit(wish({"model": agent}))
    assert isinstance(ticket, Ticket)
    return Line(opener, ticket)


async def kept(gateway: Gateway, session_id: str) -> dict[str, Any]:
    await gateway.write_behind.flush("default", session_id)
    document: Any = await gateway.store.get("default", session_id, SESSION_ID)
    return dict(document)


def test_a_call_begins_with_the_message_that_says_who_calls(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "who.py").write_text(PLUGIN)

    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway, "asking")
        await later(1)
        assert (line.leg.running, len(gateway.live_calls), gateway.admission.model_legs_opened) == (None, 0, 0)
        line.far.send(FIRST)
        (live,) = gateway.live_calls.of("default")
        assert (live.protocol, live.running) == ("first_message", line.leg.running)
        assert dict(live.running.call.caller) == {"number": "+4930", "called": "+4989"}
        await later(1)
        line.far.send(b"{}")
        await later(3)
        line.far.hang_up()
        await gateway.live_calls.wait_empty()
        session = await kept(gateway, live.session_id)
        assert session["end_reason"] == "caller_hung_up"
        assert session["caller"] == {
            "number": "+4930",
            "called": "+4989",
            "direction": "inbound",
            "metadata": {"order": "17"},
            "carrier_call_id": None,
            "language": None,
        }
        turns: Any = await gateway.store.query("default", live.session_id, "turn")
        outputs = [entry["output"] for turn in turns for entry in turn["entries"] if entry["kind"] == "tool"]
        assert outputs == ["+4930 +4989 inbound 17"]

    within(tmp_path, main, files=ASKING, plugins_dir=plugins)


def test_a_call_counts_once_before_and_after_its_first_message(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway)
        for _ in range(2):
            other = await let_in(gateway)
            assert await refused(gateway) == (503, "server_full")
            gateway.admission.release(other)
            line.far.send(FIRST)
        line.far.hang_up()
        await gateway.live_calls.wait_empty()
        for ticket in [await let_in(gateway) for _ in range(2)]:
            gateway.admission.release(ticket)

    within(tmp_path, main, max_calls=2)


@pytest.mark.parametrize("end", ["hang_up", "drop"])
def test_a_socket_that_closes_before_its_first_message_leaves_nothing(tmp_path: Path, end: str) -> None:
    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway)
        assert await refused(gateway) == (503, "server_full")
        getattr(line.far, end)()
        ticket = await let_in(gateway)
        gateway.admission.release(ticket)
        assert (gateway.live_calls.served, gateway.admission.model_legs_opened) == (0, 0)
        with pytest.raises(Missing):
            await kept(gateway, "sess_1")

    within(tmp_path, main, max_calls=1)


def test_a_first_message_that_never_comes_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway)
        await later(FIRST_MESSAGE_MS / 1000 - 0.1)
        assert line.closed == []
        assert await refused(gateway) == (503, "server_full")
        await later(0.2)
        assert line.closed == [(1008, "the first message did not come")]
        gateway.admission.release(await let_in(gateway))

    within(tmp_path, main, max_calls=1)


def test_a_first_message_that_breaks_the_leg_frees_its_place(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway)
        line.far.send(b"{}")
        assert [type(fault) for fault in line.leg.faults] == [KeyError]
        await later(0.1)
        assert line.closed[0][0] == 1011
        gateway.admission.release(await let_in(gateway))

    within(tmp_path, main, max_calls=1)


def test_a_call_that_begins_while_the_server_goes_down_is_told_goodbye(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        line = await dialled(gateway)
        gateway.live_calls.goodbye()
        assert line.closed == []
        line.far.send(FIRST)
        assert line.closed == [(1001, "the server is going down")]
        await gateway.live_calls.wait_empty()
        assert (await kept(gateway, "sess_1"))["end_reason"] == "shutting_down"

    within(tmp_path, main)


# ---- tools


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
    """`slow` answers after a second, `silent` only after it has been given up."""
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
            ticket = await let_in(gateway, agent)
            waited[name] = loop.time() - begun
            gateway.admission.release(ticket)
            assert len(ticket.toolbox.specs) == len(ticket.server_tools) == (name == "slow")

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


def test_the_tools_that_an_agent_lacks_are_logged_once_until_they_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def calls(gateway: Gateway) -> list[str]:
        caplog.clear()
        for _ in range(3):
            gateway.admission.release(await let_in(gateway, "silent"))
        told = [line for line in caplog.records if line.name == "gateway.calls.admission"]
        return [f"{line.message}: {line.__dict__.get('problem', '')}".rpartition(": ")[2] for line in told]

    async def main(gateway: Gateway) -> None:
        assert await calls(gateway) == ["not connected yet"]
        assert await calls(gateway) == []
        await later(10)
        assert await calls(gateway) == ["it did not answer in time"]
        await later(10)
        assert await calls(gateway) == []

    within(tmp_path, main, mcp=tool_servers(connect_ms=5_000))
