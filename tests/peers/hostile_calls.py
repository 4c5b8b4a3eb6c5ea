"""The callers of the sweep: each makes one call, provokes a case in it, and reads the call's record."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import suppress
from typing import Any

from peers.hostile_table import Case, Provoke, Seen, World
from peers.server_callers import Caller, calling
from websockets.exceptions import ConnectionClosed

AGAIN = "ping"  # every agent of the sweep answers this
RECORD_S = 10.0


async def look_up(world: World, seen: Seen, within_s: float = RECORD_S) -> Seen:
    """Add what the record says once the call is over."""
    seen.session = await asyncio.to_thread(world.server.ended, seen.session_id, within_s=within_s)
    seen.turns = await asyncio.to_thread(world.server.turns, seen.session_id)
    return seen


def note(seen: Seen, caller: Caller) -> None:
    """Add what the caller received."""
    heard_bytes: dict[str, int] = {}
    for event in caller.events:
        match event["type"]:
            case "response.done":
                seen.statuses.append(event["response"]["status"])
            case "error":
                seen.errors.append(str(event["error"].get("code")))
            case "response.output_audio.delta":
                response = event["response_id"]
                heard_bytes[response] = heard_bytes.get(response, 0) + len(b64decode(event["delta"]))
    seen.heard_ms = next(iter(heard_bytes.values()), 0) // 48
    seen.close_code = caller.socket.close_code or 0


async def finish_turn(caller: Caller, wait_s: float) -> None:
    """Read until a response has ended that no tool result follows."""
    async with asyncio.timeout(wait_s):
        while True:
            event: dict[str, Any] = await next_event(caller, wait_s)
            if event["type"] == "response.done" and _is_last(event["response"]):
                return


async def finish_any(caller: Caller, wait_s: float) -> None:
    """Read until a response has ended."""
    async with asyncio.timeout(wait_s):
        while (await next_event(caller, wait_s))["type"] != "response.done":
            pass


async def next_event(caller: Caller, wait_s: float) -> dict[str, Any]:
    """The next event. Waits longer than the caller's own limit."""
    until = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return await caller.next()
        except TimeoutError:
            if asyncio.get_running_loop().time() >= until:
                raise


def _is_last(response: dict[str, Any]) -> bool:
    """A response that shows the client nothing called a server-side tool: the answer is still to come."""
    return bool(response["output"]) or response["status"] != "completed"


async def converse(caller: Caller, words: str, wait_s: float) -> bool:
    """Say the words, wait for the answer, and ask again. Returns whether the second question was answered too."""
    await caller.say(words)
    await finish_turn(caller, wait_s)
    await caller.say(AGAIN)
    await finish_turn(caller, wait_s)
    return True


def talk(agent: str, words: str) -> Provoke:
    """A call to this agent in which these words provoke the case, then another turn, then the record."""

    async def provoke(world: World, case: Case) -> Seen:
        seen = Seen()
        async with calling(world.server, agent) as caller:
            seen.session_id = caller.session_id
            with suppress(ConnectionClosed):
                seen.answered_again = await converse(caller, words, case.wait_s)
            note(seen, caller)
        return await look_up(world, seen)

    return provoke
