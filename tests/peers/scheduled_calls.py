"""Calls on a schedule, whose records are known beforehand but for ids and times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peers.server_callers import calling
from peers.server_process import Server

HEARD_S = 1.0  # until the last answer has been heard
IDS = {"id", "session_id", "item_id", "call_id", "response_id", "model_session", "trace_id", "boot", "process"}
# Times, and what depends on them: the length of a recording and the bytes of its file.
TIMES = {
    "admission_ms",
    "begin_ms",
    "ready_ms",
    "lost_ms",
    "asked_ms",
    "first_sound_ms",
    "end_ms",
    "latency_ms",
    "duration_ms",
    "started_at",
    "ended_at",
    "payload_bytes",
    "etag",
    "written_s",
}


@dataclass
class ScheduledCall:
    """A call that begins at `begin_s` of the schedule and takes its turns at a steady pace, whatever happens."""

    number: int
    begin_s: float
    turns: int
    every_s: float
    session_id: str = ""

    async def hold(self, server: Server, begun_s: float) -> None:
        """Make the call; `begun_s` is the loop's time at which the schedule began. Fails where the call does."""
        begun_s += self.begin_s
        await _sleep_until(begun_s)
        async with calling(server) as caller:
            self.session_id = caller.session_id
            for turn in range(self.turns):
                await _sleep_until(begun_s + turn * self.every_s)
                done = await caller.turn(f"ping {self.number} {turn}")
                assert done["response"]["status"] == "completed", done
            await asyncio.sleep(HEARD_S)


async def hold_all(server: Server, calls: Iterable[ScheduledCall]) -> None:
    """Make all calls of a schedule that begins now."""
    begun_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            tasks.create_task(call.hold(server, begun_s))


def masked(value: Any, name: str = "") -> Any:
    """A document or an answer of the API without ids and times; of lists of times, the length is left."""
    if name == "latencies_ms":
        return len(value)
    if name in IDS | TIMES and value not in (None, ""):  # 0 is a time: a turn may begin with the call
        return "…"
    if isinstance(value, Mapping):
        return {key: masked(inner, key) for key, inner in value.items()}
    return [masked(one) for one in value] if isinstance(value, list) else value


def records(calls: Sequence[ScheduledCall], found: Mapping[str, list[dict[str, Any]]]) -> dict[int, list[Any]]:
    """The documents of each call without ids and times, by its number. Fails where the store holds other sessions."""
    assert {call.session_id for call in calls} == found.keys()
    return {call.number: [masked(document) for document in found[call.session_id]] for call in calls}


def changes(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where a record differs from the expected one, and how."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = found.keys() | expected.keys()
        return [line for key in sorted(keys) for line in changes(found.get(key), expected.get(key), f"{path}.{key}")]
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for place, (one, other) in pairs for line in changes(one, other, f"{path}[{place}]")]
    return [] if found == expected else [f"{path}: {found!r} instead of {expected!r}"]


async def _sleep_until(time_s: float) -> None:
    await asyncio.sleep(max(0.0, time_s - asyncio.get_running_loop().time()))
