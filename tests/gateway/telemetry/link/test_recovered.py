"""Sessions of dead servers: what their couriers have sent is told first, and they are waited for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from support.stores.store_contract import HandClock
from support.telemetry.telemetry_records import SESSION, call_document, document_of, turn_of
from support.virtual import run

from gateway.telemetry.link.child import Child
from gateway.telemetry.link.ledger import Ledger
from gateway.telemetry.link.link import LinkParts, TelemetryLink
from gateway.telemetry.link.recovered import RecoveredSessions, ledger_path, remove_old
from gateway.telemetry.link.wire import LEAVE_S, NoFigures
from sessions.stores.contract import SessionKey
from sessions.stores.sqlite import SqliteStore

KEY = SessionKey("default", SESSION)


class Noting(TelemetryLink):
    """A link that notes what it is given, and starts no courier."""

    def __init__(self) -> None:
        super().__init__(LinkParts({}, _never, lambda agent: "none", dict, NoFigures()))
        self.given: list[Any] = []

    def document(self, document: Any) -> None:
        """Note a document's id."""
        self.given.append(document["id"])

    def sent(self, session: str, parts: list[list[str]]) -> None:
        """Note what was sent."""
        self.given.append(parts)


async def _never() -> Child:
    raise OSError


async def whole(folder: Path, during: Any = None) -> tuple[list[Any], float]:
    """Give a session to the job; returns what the link got, and how long that took."""
    store = SqliteStore(":memory:", HandClock(), inline=True)
    await store.open()
    for document in (call_document(), document_of(turn_of(0)), document_of(turn_of(1))):
        await store.put(document, None)
    link = Noting()
    job = RecoveredSessions(link, store, folder, inline=True)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    job.ended(KEY, "boot_dead")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(job.run())
        while len(link.given) < 4:
            await asyncio.sleep(0.1)
            if during is not None and loop.time() - begun > 2:
                during()
        took = loop.time() - begun
        running.cancel()
    await store.close()
    return link.given, took


def test_a_session_is_sent_whole_after_what_is_known_of_it(tmp_path: Path) -> None:
    ledger = Ledger(ledger_path(tmp_path, "boot_dead"))
    ledger.note([(SESSION, "turn/0", "otlp"), ("other", "turn/0", "otlp")])
    ledger.close(remove=False)
    given, took = run(whole(tmp_path))
    assert given == [[[SESSION, "turn/0", "otlp"]], "session", "turn_00000", "turn_00001"]
    assert took < 1


def test_without_a_ledger_it_is_sent_whole(tmp_path: Path) -> None:
    given, _ = run(whole(tmp_path))
    assert given == [[], "session", "turn_00000", "turn_00001"]


def test_the_courier_of_the_dead_server_is_waited_for(tmp_path: Path) -> None:
    ledger = Ledger(ledger_path(tmp_path, "boot_dead"))

    def ends() -> None:
        ledger.note([(SESSION, "turn/1", "otlp")])
        ledger.close(remove=False)

    given, took = run(whole(tmp_path, ends))
    assert given[0] == [[SESSION, "turn/1", "otlp"]]
    assert 2 < took < 3


def test_it_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    ledger = Ledger(ledger_path(tmp_path, "boot_dead"))
    _, took = run(whole(tmp_path))
    assert LEAVE_S - 1 < took < LEAVE_S + 1
    ledger.close(remove=True)


def test_old_ledgers_are_removed_unless_they_are_in_use(tmp_path: Path) -> None:
    for name in ("old", "new", "used"):
        (tmp_path / f"{name}.jsonl").write_text("")
    used = Ledger(tmp_path / "used.jsonl")
    for name in ("old", "used"):
        os.utime(tmp_path / f"{name}.jsonl", (1000, 1000))
    remove_old(tmp_path, 2000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.jsonl", "used.jsonl"]
    used.close(remove=False)
    remove_old(tmp_path / "missing", 2000)
