"""What can befall the store, the spool and the folder of recordings while calls run: one after the other, then mended.

Meanwhile calls go on as if nothing were; once the harm is mended the record of each tells how it ended.
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
MENDED_S = 25.0  # a store that is back is tried every 5 s
LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
connection.execute("ROLLBACK")
"""

Harm = Callable[[Path], AbstractAsyncContextManager[None]]


def _locked(how: str, seconds: float) -> Harm:
    """Another process holds the file."""

    @asynccontextmanager
    async def harm(data: Path) -> AsyncIterator[None]:
        command = [sys.executable, "-c", LOCK, str(data / "patchbay.db"), how, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "locked\n"
            yield
            await asyncio.to_thread(holder.wait, seconds + 10)

    return harm


def _instead(name: str, make: Callable[[Path], None]) -> Harm:
    """Something else, or nothing, stands where the file or folder was; afterwards it is back."""

    @asynccontextmanager
    async def harm(data: Path) -> AsyncIterator[None]:
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

    return harm


def _for_good(name: str, harm_it: Callable[[Path], None]) -> Harm:
    """Harm that nobody mends: the gateway makes anew what it needs."""

    @asynccontextmanager
    async def harm(data: Path) -> AsyncIterator[None]:
        if (data / name).exists():
            harm_it(data / name)
        yield

    return harm


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _nothing(place: Path) -> None:
    """It is just gone."""


def _garbage(place: Path) -> None:
    place.write_bytes(bytes(range(256)) * 100)


def _folder(place: Path) -> None:
    place.mkdir()


def _during(harm: Harm) -> Provoke:
    """A call that begins before the harm and one that begins in it; both are in the record once it is mended."""

    async def provoke(world: World, case: Case) -> Seen:
        data, seen = world.folder / "data", Seen()
        async with calling(world.server, "plain") as before:
            assert await converse(before, "ping", 10)
            async with harm(data):
                async with calling(world.server, "plain") as within:
                    seen.session_id = within.session_id
                    seen.answered_again = await converse(within, "ping", 10)
                    note(seen, within)
                assert await converse(before, "ping", 10), "the call that ran before did not go on"
                await asyncio.sleep(1)
        earlier = await look_up(world, Seen(before.session_id), MENDED_S)
        assert len(earlier.turns) == 4, f"the call from before has {len(earlier.turns)} turns"
        return await look_up(world, seen, MENDED_S)

    return provoke


KINDS: dict[str, Harm] = {
    "the file locked for 10 s": _locked("EXCLUSIVE", 10),
    "the file locked against writing for 3 s": _locked("IMMEDIATE", 3),
    "the file gone": _instead("patchbay.db", _nothing),
    "garbage instead of the file": _instead("patchbay.db", _garbage),
    "a folder instead of the file": _instead("patchbay.db", _folder),
    "an empty file instead of it": _instead("patchbay.db", Path.touch),
    "recordings' folder gone": _instead("blobs", _nothing),
    "a file instead of recordings' folder": _instead("blobs", _garbage),
    "spool folder gone for good": _for_good("spool", _remove),
    "a file instead of the spool folder": _instead("spool", _garbage),
    "boots folder gone for good": _for_good("boots", _remove),
}
CASES = [
    Case(PART, kind, _during(harm), Says(said="Pong.", status=("completed",)), wait_s=60.0)
    for kind, harm in KINDS.items()
]
