"""Faults of the store, the spool and the folder of recordings during calls: one after the other, each then repaired.

Calls must go on during the fault. Once it is repaired, the record of each call must show how it ended.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from peers.hostile_calls import converse, look_up, note
from peers.hostile_table import Case, Provoke, Says, Seen, World
from peers.server_callers import calling

PART = "store"
REPAIRED_S = 25.0  # how long a record may take after the repair; a lost store is tried every 2 s
LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
connection.execute("ROLLBACK")
"""

Fault = Callable[[Path], AbstractAsyncContextManager[None]]


def _locked(how: str, seconds: float) -> Fault:
    """Another process locks the file."""

    @asynccontextmanager
    async def fault(data: Path) -> AsyncIterator[None]:
        command = [sys.executable, "-c", LOCK, str(data / "patchbay.db"), how, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as locker:
            assert locker.stdout is not None
            assert await asyncio.to_thread(locker.stdout.readline) == "locked\n"
            yield
            await asyncio.to_thread(locker.wait, seconds + 10)

    return fault


def _replaced(name: str, make: Callable[[Path], None]) -> Fault:
    """The file or folder is replaced by something else or by nothing; afterwards it is put back."""

    @asynccontextmanager
    async def fault(data: Path) -> AsyncIterator[None]:
        place, aside = data / name, data / f"{name}.aside"
        was = place.exists()
        if was:
            place.rename(aside)
        make(place)
        try:
            yield
        finally:
            _remove(place)
            if was:
                aside.rename(place)

    return fault


def _permanent(name: str, break_it: Callable[[Path], None]) -> Fault:
    """A fault that is not repaired: the gateway makes again what it needs."""

    @asynccontextmanager
    async def fault(data: Path) -> AsyncIterator[None]:
        if (data / name).exists():
            break_it(data / name)
        yield

    return fault


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _nothing(place: Path) -> None:
    """Put nothing in the place of the file or folder."""


def _garbage(place: Path) -> None:
    place.write_bytes(bytes(range(256)) * 100)


def _folder(place: Path) -> None:
    place.mkdir()


def _during(fault: Fault) -> Provoke:
    """Hold a call that begins before the fault and one that begins during it; both must be in the record later."""

    async def provoke(world: World, case: Case) -> Seen:
        data, seen = world.folder / "data", Seen()
        async with calling(world.server, "plain") as before:
            assert await converse(before, "ping", 10)
            async with fault(data):
                async with calling(world.server, "plain") as within:
                    seen.session_id = within.session_id
                    seen.answered_again = await converse(within, "ping", 10)
                    note(seen, within)
                assert await converse(before, "ping", 10), "the call that ran before did not go on"
                await asyncio.sleep(1)
        earlier = await look_up(world, Seen(before.session_id), REPAIRED_S)
        assert len(earlier.turns) == 4, f"the call from before has {len(earlier.turns)} turns"
        return await look_up(world, seen, REPAIRED_S)

    return provoke


KINDS: dict[str, Fault] = {
    "the file locked for 10 s": _locked("EXCLUSIVE", 10),
    "the file locked against writing for 3 s": _locked("IMMEDIATE", 3),
    "the file gone": _replaced("patchbay.db", _nothing),
    "garbage instead of the file": _replaced("patchbay.db", _garbage),
    "a folder instead of the file": _replaced("patchbay.db", _folder),
    "an empty file instead of it": _replaced("patchbay.db", Path.touch),
    "recordings' folder gone": _replaced("blobs", _nothing),
    "a file instead of recordings' folder": _replaced("blobs", _garbage),
    "spool folder gone for good": _permanent("spool", _remove),
    "a file instead of the spool folder": _replaced("spool", _garbage),
    "boots folder gone for good": _permanent("boots", _remove),
}
CASES = [
    Case(PART, kind, _during(fault), Says(said="Pong.", status=("completed",)), wait_s=60.0)
    for kind, fault in KINDS.items()
]
