"""A whole gateway without a server: requests go over ASGI, and its records hold one finished session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from gateway.app import Gateway, Overrides
from gateway.clock import SystemClock
from gateway.config.settings import load_settings
from gateway.ids import CountingIds
from gateway.tools.pool import McpPool
from sessions.caller_facts import CallerFacts
from sessions.record import CallSummary, Speaker, Turn, Utterance
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    turn_document,
)

AGENT = """
description: Answers as it is told.
model: scripted/scripts/one.yaml
instructions: Be brief.
"""
KEY = "test-key-of-thirty-two-characters"
BEARER = {"Authorization": f"Bearer {KEY}"}
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
    caller=CallerFacts.of("+4930", "+4989", "outbound", {"order": "17"}, "CA17"),
)


def make_gateway(
    folder: Path, agents: dict[str, str] | None = None, mcp: McpPool | None = None, **settings: Any
) -> Gateway:
    """A gateway with one scripted agent and those in `agents`."""
    scripts = folder / "agents" / "scripts"
    scripts.mkdir(parents=True)
    for name, text in {"one": AGENT, **(agents or {})}.items():
        (folder / "agents" / f"{name}.yaml").write_text(text)
    (scripts / "one.yaml").write_text("turns: [{say: Hello.}]")
    loaded = load_settings(environ={}, folder=folder, **settings)
    return Gateway(loaded, SystemClock(), CountingIds(), Overrides(inline=True, mcp=mcp or McpPool({})))


async def fill(gateway: Gateway, folder: Path) -> None:
    """Store one finished session with a recording and an event log, and one session of another tenant."""
    said = Utterance("i1", Speaker.CALLER, "Hello?", "Hello?", spoken=True, begin_ms=10)
    turn = Turn(0, 10, 900, [said], latency_ms=420, outcome="completed")
    await gateway.store.put(session_document(RECORD, ttl_s=None), None)
    await gateway.store.put(turn_document("default", "sess_a", turn, ttl_s=None), None)
    await gateway.store.put(session_document(replace(RECORD, tenant="other", session_id="sess_b"), ttl_s=None), None)
    for name, payload in (("recording.flac", b"fLaC..."), ("events.jsonl", b'{"schema":1}\n')):
        (folder / name).write_bytes(payload)
        await gateway.blobs.put_file("default", "sess_a", name, folder / name)


def asking(gateway: Gateway) -> httpx.AsyncClient:
    """A client of the HTTP API, without sockets; an error inside the gateway is an answer of 500."""
    transport = httpx.ASGITransport(gateway.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


def served(
    folder: Path,
    scenario: Callable[[Gateway, httpx.AsyncClient], Awaitable[None]],
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
    **settings: Any,
) -> None:
    """Run a scenario against a running gateway; with `virtual.run` no real time passes."""

    async def main() -> None:
        gateway = make_gateway(folder, **settings)
        async with asyncio.timeout(20), gateway.running():
            await fill(gateway, folder)
            async with asking(gateway) as client:
                await scenario(gateway, client)

    run(main())
