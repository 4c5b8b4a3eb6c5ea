"""Recordings downloaded from a real server: resumed, read in parts, broken off by either side, with curl and httpx."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from peers.server_files import KEY
from peers.server_process import Server, serving
from support.api_world import RECORD

from gateway.blobs.folder import FolderBlobs, session_folder
from gateway.clock import SystemClock
from sessions.stores.documents import session_document
from sessions.stores.sqlite import SqliteStore

pytestmark = pytest.mark.sockets

SIZE = 10_000_000
CONTENT = random.Random(7).randbytes(SIZE)
PATH = "/api/v1/sessions/sess_a/recording"
BEARER = {"Authorization": f"Bearer {KEY}"}
WAIT_S = 10.0


def blob(server: Server, session_id: str) -> Path:
    return session_folder(server.folder / "data" / "blobs", "default", session_id) / "recording.flac"


async def fill(folder: Path) -> None:
    """Store sessions with a recording each, as an earlier run of the server left them."""
    store = SqliteStore(f"{folder}/patchbay.db", SystemClock())
    await store.open()
    blobs = FolderBlobs(folder / "data" / "blobs")
    for session_id in ("sess_a", "sess_short", "sess_folder", "sess_empty"):
        await store.put(session_document(replace(RECORD, session_id=session_id), ttl_s=None), None)
        (folder / "made").write_bytes(b"" if session_id == "sess_empty" else CONTENT)
        await blobs.put_file("default", session_id, "recording.flac", folder / "made")
        (folder / "made").unlink()
    await store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("downloads")
    asyncio.run(fill(folder))
    with serving(folder, PATCHBAY_API_KEYS=KEY, PATCHBAY_STORE=f"sqlite://{folder}/patchbay.db") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers=BEARER, timeout=WAIT_S) as made:
        yield made


def logged(server: Server, since: int) -> list[Any]:
    return [json.loads(line) for line in server.log()[since:].splitlines()]


def soon_logged(server: Server, since: int, message: str) -> Any:
    """The log line with this message, once it is there."""
    until = time.monotonic() + WAIT_S
    while True:
        found = [line for line in logged(server, since) if line["message"] == message]
        if found:
            return found[-1]
        assert time.monotonic() < until, server.log()[since:]
        time.sleep(0.02)


def test_a_download_that_broke_off_is_resumed(server: Server, client: httpx.Client) -> None:
    since = len(server.log())
    got = b""
    with client.stream("GET", PATH) as first:
        etag = first.headers["etag"]
        for piece in first.iter_raw():
            got += piece
            if len(got) > 3_000_000:
                break
    line = soon_logged(server, since, "a file of a session was asked for")
    assert len(got) <= line["payload_bytes"] < SIZE or line["payload_bytes"] == SIZE
    rest = client.get(PATH, headers={"Range": f"bytes={len(got)}-", "If-Range": etag})
    assert (rest.status_code, rest.headers["content-range"]) == (206, f"bytes {len(got)}-{SIZE - 1}/{SIZE}")
    assert got + rest.content == CONTENT
    other = client.get(PATH, headers={"Range": f"bytes={len(got)}-", "If-Range": '"another"'})
    assert (other.status_code, other.content == CONTENT) == (200, True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="install curl")
def test_curl_resumes_and_reads_parts(server: Server, tmp_path: Path) -> None:
    def curl(*arguments: str) -> str:
        command = ["curl", "-s", "-S", "-H", f"Authorization: Bearer {KEY}", "-w", "%{http_code}", *arguments]
        return subprocess.run(
            [*command, server.url + PATH], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    half = tmp_path / "half"
    half.write_bytes(CONTENT[:4_321_000])
    assert curl("-C", "-", "-o", str(half)) == "206"
    assert half.read_bytes() == CONTENT
    for asked, part in (("-500", CONTENT[-500:]), ("0-0", CONTENT[:1]), ("9999990-", CONTENT[9_999_990:])):
        assert curl("-r", asked, "-o", str(tmp_path / "part")) == "206"
        assert (tmp_path / "part").read_bytes() == part
    assert curl("-I", "-o", str(tmp_path / "head")) == "200"
    assert f"content-length: {SIZE}" in (tmp_path / "head").read_text().lower()


def test_a_player_seeks_on_one_connection(server: Server, client: httpx.Client) -> None:
    places = random.Random(3)
    for _ in range(60):
        begin = places.randrange(SIZE)
        end = min(SIZE - 1, begin + places.randrange(300_000))
        part = client.get(PATH, headers={"Range": f"bytes={begin}-{end}"})
        assert (part.status_code, part.content == CONTENT[begin : end + 1]) == (206, True)
    past = client.get(PATH, headers={"Range": f"bytes={SIZE}-"})
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert past.json()["error"]["code"] == "range_not_satisfiable"
    for ignored in ("bytes=0-1,5-6", "items=0-1", "bytes=x"):
        whole = client.get(PATH, headers={"Range": ignored})
        assert (whole.status_code, len(whole.content), whole.headers["accept-ranges"]) == (200, SIZE, "bytes")
    head = client.head(PATH, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")
    same = client.get(PATH, headers={"If-None-Match": head.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    empty = client.get("/api/v1/sessions/sess_empty/recording", headers={"Range": "bytes=-5"})
    assert (empty.status_code, empty.content) == (200, b"")


def test_each_access_is_logged_and_none_without_a_key(server: Server, client: httpx.Client) -> None:
    since = len(server.log())
    client.get(PATH, headers={"Range": "bytes=5-104"})
    line = soon_logged(server, since, "a file of a session was asked for")
    facts = {"session_id": "sess_a", "file": "recording.flac", "status": 206, "payload_bytes": 100, "level": "info"}
    assert line.items() >= facts.items()
    since = len(server.log())
    assert httpx.get(server.url + PATH, headers={"Range": "bytes=0-1"}).status_code == 401
    assert logged(server, since) == []
    assert KEY not in server.log()


def test_a_file_that_ends_early_closes_the_connection_and_is_logged_once(server: Server) -> None:
    since = len(server.log())
    blob(server, "sess_short").write_bytes(CONTENT * 5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        head = ("GET /api/v1/sessions/sess_short/recording HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {KEY}")
        line.sendall("\r\n".join((*head, "", "")).encode())
        got = line.recv(65536)
        assert b"200 OK" in got
        os.truncate(blob(server, "sess_short"), 1_000_000)
        while received := line.recv(1 << 20):
            got += received
    body = got.partition(b"\r\n\r\n")[2]
    assert len(body) < 5 * SIZE
    assert (CONTENT * 5).startswith(body)
    broken = soon_logged(server, since, "a file of a session was not sent to its end")
    assert (broken["level"], broken["session_id"]) == ("error", "sess_short")
    time.sleep(0.1)
    assert len(logged(server, since)) == 1
    assert server.ask("/healthz")[0] == 200


def test_a_blob_that_cannot_be_read_is_a_refusal(server: Server, client: httpx.Client) -> None:
    place = blob(server, "sess_folder")
    place.unlink()
    place.mkdir()
    refused = client.get("/api/v1/sessions/sess_folder/recording")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "recordings_unavailable")
    place.rmdir()
    assert client.get("/api/v1/sessions/sess_folder/recording").status_code == 404


def test_clients_that_hang_up_leave_no_file_open(server: Server, client: httpx.Client) -> None:
    client.get(PATH)
    before = server.open_files()
    for _ in range(20):
        with client.stream("GET", PATH) as answer:
            next(answer.iter_raw())
    until = time.monotonic() + WAIT_S
    while server.open_files() > before + 1:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.get(PATH).content == CONTENT
