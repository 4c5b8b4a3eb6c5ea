"""The removal of a session, broken off at every step: whatever is left is found again, and a success is a whole one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from support.api_world import RECORD, fill, make_gateway, served
from support.calls.call_rig import later
from support.stores.store_contract import HandClock
from support.virtual import run

from gateway.app import Gateway, Overrides
from gateway.blobs.contract import BlobFailed
from gateway.blobs.folder import session_folder
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.recording.recorder import CALLS
from gateway.state.boots import Boots
from gateway.state.instances import LOCK
from gateway.state.recovery import STATE
from gateway.state.spool import NAME
from gateway.tools.pool import McpPool
from sessions.stores.contract import StoreFailed
from sessions.stores.documents import Owner, RecordingInfo, RecordingState, SessionState, session_document

# Each step of a removal, as the object of the gateway and the method that does it, in their order.
STEPS = {
    "the spool of state": ("write_behind", "forget"),
    "the spool of the recording": ("_recorder", "forget"),
    "the files": ("blobs", "delete_session"),
    "the documents": ("store", "delete_session"),
}
EVERY_S = 4.0  # between two rounds of the retention, for these tests
FAULTS = (BlobFailed("gone"), StoreFailed("gone"), OSError(5, "Input/output error"), TimeoutError())


class Ended(BaseException):
    """Stands for the end of the process: nothing that follows is done."""


def break_at(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, step: str, fault: BaseException, *, after: bool
) -> None:
    """Raise at a step, before or after it has done its work."""
    part, name = STEPS[step]
    whole: Callable[..., Awaitable[Any]] = getattr(getattr(gateway, part), name)

    async def broken(*given: Any) -> None:
        if after:
            await whole(*given)
        raise fault

    monkeypatch.setattr(getattr(gateway, part), name, broken)


def boot_folder(gateway: Gateway) -> Path:
    return next(path for path in (gateway.settings.data_dir / "boots").iterdir() if path.is_dir())


def unlock(folder: Path) -> None:
    """Close the locks of instances in a folder, as the end of their process does."""
    for opened in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if opened.readlink().name == LOCK and opened.readlink().is_relative_to(folder):
                os.close(int(opened.name))


async def spread(gateway: Gateway) -> None:
    """Give the session a part in every place: it has documents and files already."""
    folder = boot_folder(gateway)
    spool = session_folder(folder / CALLS, "default", "sess_a")
    spool.mkdir(parents=True)
    (spool / "caller.raw").write_bytes(b"sound")
    (folder / STATE).mkdir(exist_ok=True)
    waiting = [{"tenant": "default", "session_id": name, "id": "turn_00007"} for name in ("sess_a", "s2")]
    (folder / STATE / NAME).write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in waiting))


async def left(gateway: Gateway) -> list[str]:
    """The places that still hold something of the session."""
    found = []
    spools = gateway.settings.data_dir / "boots"  # of this start and of earlier ones
    if any(b"sess_a" in spool.read_bytes() for spool in spools.rglob(NAME)):
        found.append("the spool of state")
    if list(spools.rglob("sess_a")):
        found.append("the spool of the recording")
    if list((gateway.settings.data_dir / "blobs").rglob("sess_a")):
        found.append("the files")
    with closing(sqlite3.connect(gateway.settings.store_url.removeprefix("sqlite://"))) as file:
        if file.execute("SELECT count(*) FROM documents WHERE session_id = 'sess_a'").fetchone()[0]:
            found.append("the documents")
    return found


def with_spread(folder: Path, scenario: Callable[[Gateway, httpx.AsyncClient], Awaitable[None]], **more: Any) -> None:
    async def main(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await spread(gateway)
        assert await left(gateway) == list(STEPS)
        await scenario(gateway, client)
        assert b"s2" in (boot_folder(gateway) / STATE / NAME).read_bytes()  # of another session

    served(folder, main, store=f"sqlite://{folder}/patchbay.db", **more)


def test_a_deletion_removes_every_part_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        order: list[str] = []
        for step, (part, name) in STEPS.items():
            whole = getattr(getattr(gateway, part), name)

            def noted(*given: Any, step: str = step, whole: Any = whole) -> Any:
                order.append(step)
                return whole(*given)

            monkeypatch.setattr(getattr(gateway, part), name, noted)
        assert (await client.delete("/api/v1/sessions/sess_a")).status_code == 200
        assert (order, await left(gateway)) == (list(STEPS), [])
        assert (await client.delete("/api/v1/sessions/sess_a")).status_code == 404

    with_spread(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_deletion_that_breaks_is_no_success_and_a_repeat_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, fault: Exception, after: bool
) -> None:
    if after and step == "the documents":
        return  # an answer that was lost: the repeat says that there is nothing
    if isinstance(fault, OSError) and step in ("the files", "the documents"):
        return  # not in these parts' contracts

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        with monkeypatch.context() as broken:
            break_at(gateway, broken, step, fault, after=after)
            refused = await client.delete("/api/v1/sessions/sess_a")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] in ("store_unavailable", "recordings_unavailable")
            assert refused.headers["retry-after"] == "5"
            assert "the documents" in await left(gateway)  # so that the session is found again
        assert (await client.get("/api/v1/sessions/sess_a")).status_code == 200
        assert (await client.delete("/api/v1/sessions/sess_a")).status_code == 200
        assert await left(gateway) == []

    with_spread(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", [*FAULTS, Ended()], ids=lambda fault: type(fault).__name__)
def test_a_purge_that_broke_off_is_finished_by_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, fault: BaseException, after: bool
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await gateway.store.put(session_document(RECORD, ttl_s=1), None)
        with monkeypatch.context() as broken:
            break_at(gateway, broken, step, fault, after=after)
            await later(EVERY_S + 0.5)
            parts = await left(gateway)
            assert "the documents" in parts or (after and step == "the documents")
        await later(EVERY_S + 0.5)
        assert await left(gateway) == []

    monkeypatch.setattr("gateway.upkeep.PURGE_EVERY_S", EVERY_S)
    monkeypatch.setattr("gateway.clock.SystemClock.wall_s", lambda self: asyncio.get_running_loop().time())
    with_spread(tmp_path, scenario, run=run)


def test_while_the_folder_of_the_files_is_gone_no_session_is_deleted_or_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        blobs, away = gateway.settings.data_dir / "blobs", tmp_path / "away"
        blobs.rename(away)
        for refused in (
            await client.get("/api/v1/sessions/sess_a/recording"),
            await client.delete("/api/v1/sessions/sess_a"),
        ):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "recordings_unavailable")
        await gateway.store.put(session_document(RECORD, ttl_s=1), None)
        await later(EVERY_S + 0.5)
        assert "the documents" in await left(gateway)
        away.rename(blobs)
        assert "the files" in await left(gateway)
        await later(EVERY_S + 0.5)
        assert await left(gateway) == []

    monkeypatch.setattr("gateway.upkeep.PURGE_EVERY_S", EVERY_S)
    monkeypatch.setattr("gateway.clock.SystemClock.wall_s", lambda self: asyncio.get_running_loop().time())
    with_spread(tmp_path, scenario, run=run)


def test_a_spool_that_the_disk_keeps_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        with monkeypatch.context() as broken:
            broken.setattr("gateway.recording.sink.Sink.discard", lambda self, files: None)
            refused = await client.delete("/api/v1/sessions/sess_a")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "recordings_unavailable")
            assert "the documents" in await left(gateway)
        assert (await client.delete("/api/v1/sessions/sess_a")).status_code == 200
        assert await left(gateway) == []

    with_spread(tmp_path, scenario)


def test_a_session_whose_name_no_file_can_have_is_deleted(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        name = "s" * 300
        record = replace(RECORD, session_id=name, recording=RecordingInfo(state=RECORD.recording.state))
        await gateway.store.put(session_document(record, ttl_s=None), None)
        assert (await client.delete(f"/api/v1/sessions/{name}")).status_code == 200
        assert (await client.get(f"/api/v1/sessions/{name}")).status_code == 404

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    ("state", "recording", "code"),
    [
        (SessionState.LIVE, RecordingState.RUNNING, "session_live"),
        (SessionState.ENDED, RecordingState.RUNNING, "recording_not_ready"),
        (SessionState.ENDED, RecordingState.READY, None),
    ],
)
def test_a_session_to_which_another_living_server_adds_files_is_not_deleted(
    tmp_path: Path, state: SessionState, recording: RecordingState, code: str | None
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await Boots(gateway.store, "alive", HandClock(), process="2", host="there", version="1").beat()
        for boot, refused in (("alive", code is not None), ("dead", False), (boot_folder(gateway).name, False)):
            facts = RecordingInfo(recording)
            record = replace(RECORD, session_id=f"at_{boot}", state=state, owner=Owner("2", boot), recording=facts)
            await gateway.store.put(session_document(record, ttl_s=None), None)
            answer = await client.delete(f"/api/v1/sessions/at_{boot}")
            assert answer.status_code == (409 if refused else 200)
            assert not refused or answer.json()["error"]["code"] == code

    served(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_purge_in_which_the_process_ended_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    now_s = 2e9
    monkeypatch.setattr("gateway.upkeep.PURGE_EVERY_S", EVERY_S)
    monkeypatch.setattr("gateway.clock.SystemClock.wall_s", lambda self: now_s)

    async def main() -> None:
        nonlocal now_s
        first = make_gateway(tmp_path, store=f"sqlite://{tmp_path}/patchbay.db")
        with suppress(Ended, BaseExceptionGroup):
            async with first.running():
                await fill(first, tmp_path)
                await first.store.put(session_document(RECORD, ttl_s=10), None)
                await spread(first)
                break_at(first, monkeypatch, step, Ended(), after=after)
                await first.forget("default", "sess_a")
        unlock(tmp_path)
        assert (await left(first) == []) == (after and step == "the documents")
        now_s += 20
        second = Gateway(first.settings, SystemClock(), RandomIds(), Overrides(inline=True, mcp=McpPool({})))
        async with second.running():
            await later(1)
            now_s += 20  # a start that finds a spool writes the session once more, from which its time counts anew
            await later(EVERY_S)
            assert await left(second) == []

    run(main())
