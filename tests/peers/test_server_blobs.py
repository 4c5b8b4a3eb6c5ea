"""`patchbay serve` with its recordings on azurite: they are made, read, deleted, and wait while it is stopped."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from peers.azurite import KEY, Azurite, running_azurite
from peers.server_callers import calling, run
from peers.server_files import write_server_files
from peers.server_process import Server, serving, start

pytest.importorskip("azure.storage.blob", reason="pip install patchbay[azure-blob]")
pytestmark = [pytest.mark.sockets, pytest.mark.node]


def call(server: Server) -> str:
    """A call of one turn; returns its session id."""

    async def main() -> str:
        async with calling(server) as caller:
            for _ in range(10):
                await caller.sound()
            await caller.turn("ping")
            return caller.session_id

    return run(main)


def recorded(server: Server, session_id: str, state: str, *, within_s: float = 15.0) -> None:
    """Wait until the session's recording has this state."""
    until = time.monotonic() + within_s
    while server.session(session_id)["recording"]["state"] != state:
        assert time.monotonic() < until, server.session(session_id)["recording"]
        time.sleep(0.1)


def test_a_recording_is_kept_in_the_container_and_deleted_with_its_session(tmp_path: Path) -> None:
    with (
        running_azurite() as azurite,
        serving(tmp_path, PATCHBAY_BLOBS=azurite.place("calls"), PATCHBAY_BLOB_KEY=KEY) as server,
    ):
        session_id = call(server)
        recorded(server, session_id, "ready")
        assert not list((tmp_path / "data").rglob("*.flac"))
        status, sound = server.ask(f"/api/v1/sessions/{session_id}/recording")
        assert (status, sound[:4]) == (200, "fLaC")
        assert server.ask(f"/api/v1/sessions/{session_id}", method="DELETE")[0] == 200
        assert server.ask(f"/api/v1/sessions/{session_id}/recording")[0] == 404
        assert KEY not in server.log()


def test_recordings_wait_for_azurite_over_a_kill_and_a_start(tmp_path: Path) -> None:
    def settings(azurite: Azurite) -> dict[str, str]:
        return {"PATCHBAY_BLOBS": azurite.place("calls"), "PATCHBAY_BLOB_KEY": KEY}

    with running_azurite(tmp_path / "azurite") as azurite:
        with serving(tmp_path, **settings(azurite)) as server:
            azurite.stop()
            session_id = call(server)
            time.sleep(4)
            recorded(server, session_id, "running")
            server.signal(signal.SIGKILL)
            server.wait()
        with serving(tmp_path, **settings(azurite)) as server:  # azurite is still gone
            recorded(server, session_id, "running")
            azurite.start()
            recorded(server, session_id, "ready", within_s=60)
            assert server.ask(f"/api/v1/sessions/{session_id}/recording")[0] == 200
            assert not list((tmp_path / "data").rglob("*.flac"))


def test_a_wrong_key_stops_the_start_and_is_not_shown(tmp_path: Path) -> None:
    other = "YW5vdGhlciBrZXkgb2YgdGhlIHRlc3RzLCBhcyBsb25n"
    write_server_files(tmp_path)
    with running_azurite() as azurite:
        with pytest.raises(AssertionError, match="did not start") as failed:
            start(tmp_path, PATCHBAY_BLOBS=azurite.place(), PATCHBAY_BLOB_KEY=other)
        assert "PATCHBAY_BLOBS: the container" in str(failed.value)
        assert "PATCHBAY_BLOB_KEY is not a key of the account" in str(failed.value)
        assert other not in str(failed.value)
