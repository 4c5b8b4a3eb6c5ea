"""A whole gateway in virtual time, a request to it, and a Realtime client in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from support.calls.legs import MemoryLeg
from support.virtual import run

from gateway.app import Gateway, Overrides
from gateway.auth.requests import Fields, Headers, UpgradeRequest
from gateway.callers.realtime.open import AdmittedClient
from gateway.clock import LoopClock
from gateway.config.settings import Settings
from gateway.ids import CountingIds
from gateway.tools.pool import McpPool
from sessions.ports import Ids

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
async def opened(
    folder: Path,
    *,
    mcp: McpPool | None = None,
    files: Mapping[str, str] | None = None,
    ids: Ids | None = None,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """A gateway with the agents `desk` and `locked` (with `mcp`: one for each of its servers), and those in `files`."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    if mcp is None:
        more = {"locked.yaml": LOCKED}
    else:  # loading the model of `locked` takes a thread, and virtual time does not hold while a thread runs
        more = {f"{server}.yaml": TOOLED.format(server) for server in mcp.servers}
    for name, text in {**FILES, **more, **(files or {})}.items():
        (folder / "agents" / name).write_text(text)
    given = Settings(
        data_dir=folder / "data",
        agents_dir=folder / "agents",
        mcp_config=folder / "none.json",
        **{"plugins_dir": None, **settings},
    )
    clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
    gateway = Gateway(given, clock, ids or CountingIds(), Overrides(inline=True, mcp=mcp))
    async with gateway.running():
        yield gateway


def within(
    folder: Path,
    main: Callable[[Gateway], Coroutine[Any, Any, None]],
    *,
    mcp: McpPool | None = None,
    files: Mapping[str, str] | None = None,
    **settings: Any,
) -> None:
    """Run `main` with a gateway of its own."""

    async def whole() -> None:
        async with opened(folder, mcp=mcp, files=files, **settings) as gateway:
            await main(gateway)

    run(whole())


async def admitted(gateway: Gateway, request: UpgradeRequest) -> AdmittedClient:
    """A Realtime client that is let in."""
    client = await gateway.realtime.admit(request)
    assert isinstance(client, AdmittedClient), client
    return client


class Client:
    """A Realtime client in memory: the events that it was sent, and how it was closed."""

    def __init__(self, gateway: Gateway, client: AdmittedClient, request: UpgradeRequest | None = None) -> None:
        self.told: list[dict[str, Any]] = []
        self.closed: list[tuple[int, str]] = []
        accepted = gateway.realtime.accept(client, request or wish())
        self.leg = MemoryLeg(accepted, self._take, lambda code, reason: self.closed.append((code, reason)))
        self.leg.open()

    def _take(self, message: bytes) -> None:
        self.told.append(orjson.loads(message))

    def kinds(self) -> list[str]:
        """The types of the events so far."""
        return [event["type"] for event in self.told]
