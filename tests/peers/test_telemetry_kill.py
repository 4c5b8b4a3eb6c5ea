"""kill -9 of the courier and of the server during calls: no settled turn is missing, and at most a batch is doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from peers.server_callers import all_of, calling, run
from peers.server_process import Server, serving, start, stop
from peers.telemetry_receivers import Receiver, couriers_of, receiving
from websockets.exceptions import ConnectionClosed

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

CALLS = 6
BATCH = 512
KEPT_S = 0.25
KEYS = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}


class Talker:
    """Takes one quick turn after another, and notes when each ended."""

    def __init__(self) -> None:
        self.session = ""
        self.over: list[float] = []

    async def talk(self, server: Server, number: int, until: float) -> None:
        """Talk until then, or until the server is gone."""
        try:
            async with calling(server) as caller:
                self.session = caller.session_id
                while time.monotonic() < until:
                    await caller.turn("ping")
                    self.over.append(time.monotonic())
                    await asyncio.sleep(0.03 + 0.01 * number)
        except (ConnectionClosed, OSError, EOFError):
            pass


def settings(otlp: Receiver, langfuse: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{otlp.url}/v1/traces", "LANGFUSE_BASE_URL": langfuse.url, **KEYS}


def missing(receiver: Receiver, owed: dict[str, int]) -> int:
    """How many of the turns that are owed have not come."""
    return sum(len(set(range(turns)) - receiver.turns(session)) for session, turns in owed.items())


@pytest.mark.parametrize("slow", [False, True], ids=["both answer", "one hangs"])
def test_couriers_that_are_killed_lose_nothing(tmp_path: Path, slow: bool) -> None:
    talkers = [Talker() for _ in range(CALLS)]
    kills = 0

    with receiving() as otlp, receiving() as langfuse:
        if slow:
            langfuse.answer = lambda number: (503, {"Retry-After": "1"}) if number < 8 else "ok"
        with serving(tmp_path, **settings(otlp, langfuse)) as server:

            async def main() -> None:
                async def kill() -> None:
                    nonlocal kills
                    for pause_s in (1.0, 2.3, 2.9, 0.9):
                        await asyncio.sleep(pause_s)
                        for courier in await asyncio.to_thread(couriers_of, server.process.pid):
                            os.kill(courier, signal.SIGKILL)
                            kills += 1

                until = time.monotonic() + 8
                await all_of(kill(), *(one.talk(server, number, until) for number, one in enumerate(talkers)))

            run(main, 30)
            owed = {one.session: len(one.over) for one in talkers}
            for receiver in (otlp, langfuse):
                receiver.wait(lambda receiver=receiver: not missing(receiver, owed), "turns are missing", 25)
            assert len(couriers_of(server.process.pid)) == 1
        turns = sum(owed.values())
        for name, receiver in (("otlp", otlp), ("langfuse", langfuse)):
            print(
                f"{kills} kills of the courier, {name}: {turns} turns, {missing(receiver, owed)} missing, "
                f"{len(receiver.spans())} spans, {receiver.doubles()} twice"
            )
            assert receiver.doubles() <= kills * BATCH
        assert kills >= 3


def test_a_server_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    talkers = [Talker() for _ in range(CALLS)]
    killed: list[float] = []

    with receiving() as otlp, receiving() as langfuse:
        given = settings(otlp, langfuse)
        with serving(tmp_path, **given) as server:

            async def main() -> None:
                async def kill() -> None:
                    await asyncio.sleep(4.2)
                    server.signal(signal.SIGKILL)
                    killed.append(time.monotonic())

                until = time.monotonic() + 60
                await all_of(kill(), *(one.talk(server, number, until) for number, one in enumerate(talkers)))

            otlp.wait(lambda: len(couriers_of(server.process.pid)) == 1, "there is no courier")
            (courier,) = couriers_of(server.process.pid)
            run(main)
            assert server.wait() == -signal.SIGKILL
        again = start(tmp_path, **given)
        try:
            owed = {one.session: sum(at <= killed[0] - KEPT_S for at in one.over) for one in talkers}
            for receiver in (otlp, langfuse):
                receiver.wait(lambda receiver=receiver: not missing(receiver, owed), "turns are missing", 25)

                def ends(receiver: Receiver = receiver) -> int:
                    named = [one for one in receiver.spans() if one.name.startswith("patchbay.call")]
                    return len({one.attributes["patchbay.session.id"] for one in named})

                receiver.wait(lambda ends=ends: ends() == CALLS, "the ends of calls are missing", 25)
                # Turns that the record has are with the receiver, too.
                kept = {one.session: len(again.turns(one.session)) for one in talkers}
                receiver.wait(lambda receiver=receiver, kept=kept: not missing(receiver, kept), "recorded turns", 25)
            assert not Path(f"/proc/{courier}").exists()
        finally:
            stop(again)
        for name, receiver in (("otlp", otlp), ("langfuse", langfuse)):
            print(
                f"kill of the server, {name}: {sum(owed.values())} turns, {missing(receiver, owed)} missing, "
                f"{len(receiver.spans())} spans, {receiver.doubles()} twice"
            )
            assert receiver.doubles() <= BATCH


def test_a_server_that_is_killed_with_its_courier_loses_nothing(tmp_path: Path) -> None:
    talkers = [Talker() for _ in range(CALLS)]

    with receiving() as otlp, receiving() as langfuse:
        given = settings(otlp, langfuse)
        with serving(tmp_path, **given) as server:

            async def main() -> None:
                async def kill() -> None:
                    await asyncio.sleep(4.2)
                    couriers = couriers_of(server.process.pid)
                    server.signal(signal.SIGKILL)
                    for courier in couriers:
                        os.kill(courier, signal.SIGKILL)

                until = time.monotonic() + 60
                await all_of(kill(), *(one.talk(server, number, until) for number, one in enumerate(talkers)))

            run(main)
        again = start(tmp_path, **given)
        try:
            kept = {one.session: len(again.turns(one.session)) for one in talkers}
            for receiver in (otlp, langfuse):
                receiver.wait(lambda receiver=receiver: not missing(receiver, kept), "turns are missing", 25)
        finally:
            stop(again)
        for name, receiver in (("otlp", otlp), ("langfuse", langfuse)):
            print(
                f"kill of server and courier, {name}: {sum(kept.values())} turns, {missing(receiver, kept)} missing, "
                f"{len(receiver.spans())} spans, {receiver.doubles()} twice"
            )
            assert receiver.doubles() <= BATCH
