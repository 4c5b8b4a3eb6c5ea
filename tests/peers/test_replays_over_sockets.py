"""Some of the replays in real time and over TCP: gateway, client and model, each behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.replays.check import problems
from support.replays.file import load_replay
from support.replays.player import Outcome
from support.replays.sockets import ScriptServer, SocketWorld, serving, socket_world

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

NAMES = ("booking", "barge-in-reported", "model-drops-once", "tool-fails")
MODELS = ("in process", "over a socket")
SLACK_MS = 250  # the machine may be busy with other work
LIMIT_S = 55.0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Outcome | BaseException]:
    """All calls of this file, which run at the same time."""
    return asyncio.run(_all_calls(tmp_path_factory.mktemp("sockets")))


async def _all_calls(folder: Path) -> dict[tuple[str, str], Outcome | BaseException]:
    replays = [load_replay(name) for name in NAMES]
    found: dict[tuple[str, str], Outcome | BaseException] = {}

    async def one(world: SocketWorld, model: str, at: int) -> None:
        try:
            found[model, NAMES[at]] = await world.call(replays[at])
        except (AssertionError, OSError, ExceptionGroup) as error:
            found[model, NAMES[at]] = error

    script_server = ScriptServer(replays)
    async with (
        asyncio.timeout(LIMIT_S),
        serving(script_server.server()) as models,
        socket_world(replays, folder / "near", None) as near,
        socket_world(replays, folder / "far", models) as far,
        asyncio.TaskGroup() as calls,
    ):
        for model, world in zip(MODELS, (near, far), strict=True):
            for at in range(len(NAMES)):
                calls.create_task(one(world, model, at))
    assert script_server.dials == {name: load_replay(name).expected()["legs"] for name in NAMES}
    return found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_the_call_runs_over_sockets_as_it_was_recorded(name: str, model: str, outcomes: Any) -> None:
    outcome = outcomes[model, name]
    if isinstance(outcome, BaseException):
        raise outcome
    expected = load_replay(name).expected()
    if name != "booking":
        expected["bookings"] = outcome.bookings  # another call's
    wrong = problems(expected, outcome, SLACK_MS)
    assert not wrong, "\n".join(["", *wrong, "", *outcome.summary_lines()])
