"""Sending a file in pieces: parts, HEAD, a blob store that fails early or late, a client that goes or takes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from fastapi import Request
from support.calls.call_rig import turn
from support.virtual import run

from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.http.downloads import AS_HEAD, READ_S, SEND_S, StoredFile, download
from gateway.net.upgrade import CUT

CONTENT = bytes(range(256)) * 4
PIECE = 100
FILE = StoredFile("shop", "sess_a", "recording.flac", "7")


class HeldBlobs:
    """A blob store with one file; reading fails or hangs at a byte."""

    def __init__(self) -> None:
        self.fault: BaseException = BlobFailed("the disk is gone")
        self.fails_at: int | None = None
        self.hangs_at: int | None = None
        self.size_fault: BaseException | None = None
        self.ends_at = len(CONTENT)
        self.read_bytes = 0
        self.open = 0

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        if self.size_fault is not None:
            raise self.size_fault
        return len(CONTENT)

    async def read(
        self, tenant: str, session_id: str, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        end = min(self.ends_at, len(CONTENT) if length is None else offset + length)
        self.open += 1
        try:
            for at in range(offset, end, PIECE):
                if self.fails_at is not None and at >= self.fails_at:
                    raise self.fault
                if self.hangs_at is not None and at >= self.hangs_at:
                    await asyncio.Event().wait()
                piece = CONTENT[at : min(at + PIECE, end)]
                self.read_bytes += len(piece)
                yield piece
        finally:
            self.open -= 1

    async def put_file(self, *given: Any) -> int:
        raise AssertionError

    async def delete_session(self, tenant: str, session_id: str) -> None:
        raise AssertionError


class Client:
    """The other end of one request: keeps what is sent, and hangs up or stops taking after some bytes."""

    def __init__(self, blobs: HeldBlobs, headers: dict[str, str] | None = None, *, head: bool = False) -> None:
        self.blobs = blobs
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.whole = False
        self.cut = False
        self.hangs_up_at: int | None = None
        self.stops_at: int | None = None
        self.gone = asyncio.Event()
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": sent, "extensions": {CUT: self._cut}}
        if head:
            self.scope[AS_HEAD] = True

    async def get(self) -> Client:
        response = await download(Request(self.scope), self.blobs, FILE)
        try:
            await response(self.scope, self.receive, self.send)
        finally:
            assert self.blobs.open == 0  # while the response still exists, so not by the garbage collector
        return self

    def _cut(self) -> None:
        self.cut = True
        self.gone.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if self.stops_at is not None and len(self.body) >= self.stops_at:
            await asyncio.Event().wait()
        self.body += message.get("body", b"")
        self.whole = not message.get("more_body", False)
        if self.hangs_up_at is not None and len(self.body) >= self.hangs_up_at:
            self.gone.set()
            await turn()


def tried(scenario: Callable[[HeldBlobs], Coroutine[Any, Any, None]]) -> None:
    run(scenario(HeldBlobs()))


def accesses(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    asked = [record for record in caplog.records if record.message == "a file of a session was asked for"]
    return [tuple(vars(record)[name] for name in ("session_id", "file", "status", "payload_bytes")) for record in asked]


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "patchbay.api")


def test_the_whole_file_is_sent_with_the_headers_for_a_later_part(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        client = await Client(blobs).get()
        assert (client.status, client.body, client.whole) == (200, CONTENT, True)
        assert client.headers["content-length"] == "1024"
        assert client.headers["accept-ranges"] == "bytes"
        assert client.headers["content-type"] == "audio/flac"
        assert client.headers["content-disposition"] == 'attachment; filename="sess_a-recording.flac"'
        assert client.headers["etag"] == FILE.etag(1024)
        assert "content-range" not in client.headers
        assert accesses(caplog) == [("sess_a", "recording.flac", 200, 1024)]

    tried(scenario)


def test_only_the_part_that_was_asked_for_is_read(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        client = await Client(blobs, {"range": "bytes=50-299", "if-range": FILE.etag(1024) or ""}).get()
        assert (client.status, client.body, client.whole) == (206, CONTENT[50:300], True)
        assert (client.headers["content-range"], client.headers["content-length"]) == ("bytes 50-299/1024", "250")
        assert client.headers["etag"] == FILE.etag(1024)
        assert blobs.read_bytes == 250
        assert accesses(caplog) == [("sess_a", "recording.flac", 206, 250)]

    tried(scenario)


def test_a_part_behind_the_end_is_refused_with_the_size(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        client = await Client(blobs, {"range": "bytes=1024-"}).get()
        assert (client.status, client.headers["content-range"]) == (416, "bytes */1024")
        assert client.headers["accept-ranges"] == "bytes"
        assert b'"range_not_satisfiable"' in client.body
        assert accesses(caplog) == [("sess_a", "recording.flac", 416, 0)]

    tried(scenario)


@pytest.mark.parametrize(
    ("headers", "head", "status"),
    [
        ({}, True, 200),
        ({"range": "bytes=0-9"}, True, 200),
        ({"if-none-match": "ETAG"}, False, 304),
        ({"if-match": '"other"'}, False, 412),
    ],
)
def test_what_needs_no_content_reads_none(
    caplog: pytest.LogCaptureFixture, headers: dict[str, str], head: bool, status: int
) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        sent = {name: value.replace("ETAG", FILE.etag(1024) or "") for name, value in headers.items()}
        client = await Client(blobs, sent, head=head).get()
        assert (client.status, blobs.read_bytes, client.whole) == (status, 0, True)
        assert status != 200 or client.headers["content-length"] == "1024"
        assert accesses(caplog) == [("sess_a", "recording.flac", status, 0)]

    tried(scenario)


def test_the_etag_changes_with_the_version_and_tells_nothing_of_it() -> None:
    etag = FILE.etag(1024)
    assert etag is not None
    others = [
        StoredFile("shop", "sess_a", "recording.flac", "8").etag(1024),
        StoredFile("shop", "sess_a", "events.jsonl", "7").etag(1024),
        StoredFile("shop", "sess_b", "recording.flac", "7").etag(1024),
        StoredFile("other", "sess_a", "recording.flac", "7").etag(1024),
        FILE.etag(1023),
    ]
    assert len({etag, *others}) == 6
    assert (len(etag), etag[0], etag[-1]) == (34, '"', '"')
    unknown = StoredFile("shop", "sess_a", "recording.flac", None)
    assert unknown.etag(1024) is None
    assert "etag" not in unknown.headers(1024)


def test_a_file_name_that_is_not_plain_is_quoted() -> None:
    odd = StoredFile("shop", 'sess "\u00e9', "a", "1")
    assert odd.headers(1)["content-disposition"] == "attachment; filename*=utf-8''sess%20%22%C3%A9-a"


@pytest.mark.parametrize("fault", [BlobFailed("gone"), BlobMissing("none"), OSError(5, "odd")])
def test_an_error_before_the_first_byte_is_raised_so_that_it_can_be_answered(fault: Exception) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        blobs.fails_at, blobs.fault = 0, fault
        client = Client(blobs)
        with pytest.raises(type(fault)):
            await client.get()
        blobs.size_fault = fault
        with pytest.raises(type(fault)):
            await client.get()
        assert client.status == 0

    tried(scenario)


@pytest.mark.parametrize("at", [0, 300])
def test_a_blob_store_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture, at: int) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        blobs.hangs_at = at
        begun_s = asyncio.get_running_loop().time()
        client = Client(blobs)
        if at:
            await client.get()
            assert (client.status, client.body, client.whole, client.cut) == (200, CONTENT[:300], False, True)
        else:
            with pytest.raises(BlobFailed):
                await client.get()
        assert asyncio.get_running_loop().time() - begun_s == pytest.approx(READ_S, abs=0.1)

    tried(scenario)


@pytest.mark.parametrize(
    "fault", [BlobFailed("the disk is gone"), OSError(5, "odd"), SystemExit(2), asyncio.CancelledError()]
)
def test_an_error_in_the_middle_cuts_the_connection_and_is_logged_once(
    caplog: pytest.LogCaptureFixture, fault: BaseException
) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        blobs.fails_at, blobs.fault = 250, fault
        client = await Client(blobs).get()
        assert (client.status, client.body, client.whole, client.cut) == (200, CONTENT[:300], False, True)

    tried(scenario)
    (record,) = caplog.records
    assert (record.message, record.levelname) == ("a file of a session was not sent to its end", "ERROR")
    facts = vars(record)
    assert (facts["session_id"], facts["file"], facts["payload_bytes"]) == ("sess_a", "recording.flac", 300)
    assert (
        facts["reason"] == "the disk is gone"
        if isinstance(fault, BlobFailed)
        else type(fault).__name__ in facts["reason"]
    )


def test_a_file_that_became_shorter_is_never_taken_for_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        blobs.ends_at = 300
        client = await Client(blobs).get()
        assert (client.body, client.whole, client.cut) == (CONTENT[:300], False, True)

    tried(scenario)
    assert vars(caplog.records[-1])["reason"] == "a file in the blob store is shorter than it was"


def test_nothing_more_is_read_for_a_client_that_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        client = Client(blobs)
        client.hangs_up_at = 200
        await client.get()
        assert blobs.read_bytes <= 400
        assert not client.cut

    tried(scenario)
    ((_, _, status, sent_bytes),) = accesses(caplog)
    assert (status, 100 <= sent_bytes <= 400) == (200, True)


def test_a_client_that_takes_nothing_more_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        client = Client(blobs)
        client.stops_at = 200
        begun_s = asyncio.get_running_loop().time()
        await client.get()
        assert (client.body, client.cut) == (CONTENT[:200], True)
        assert asyncio.get_running_loop().time() - begun_s == pytest.approx(SEND_S, abs=0.1)

    tried(scenario)
    assert vars(caplog.records[-1])["reason"] == "the client does not take it"


def test_a_cancelled_download_leaves_nothing_open() -> None:
    async def scenario(blobs: HeldBlobs) -> None:
        blobs.hangs_at = 300
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await Client(blobs).get()

    tried(scenario)
