"""Uploads of pieces of recordings, without a network: Langfuse and its bucket are functions of the test."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
import numpy as np
import orjson
import pytest
import soundfile
from support.telemetry.http_answers import answered
from support.virtual import run

from gateway.blobs.contract import BlobMissing
from gateway.blobs.folder import FolderBlobs
from gateway.telemetry.courier.media import MAX_CALL_BYTES, MediaSender
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.recordings import Recordings
from gateway.telemetry.langfuse.sound import Piece, Side
from gateway.telemetry.link.destinations import Target

TARGET = Target("https://l.example/api/public/media", {"Authorization": "Basic k"}, 10.0, gzip=False, certificate="")
BUCKET = "https://bucket.example/file"


def flac() -> bytes:
    file = io.BytesIO()
    at_s = np.arange(24_000 * 3) / 24_000
    samples = np.stack([np.sin(2 * np.pi * hz * at_s) * 0.3 for hz in (300, 900)], 1)
    soundfile.write(file, samples, 24_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


SOUND = flac()


class Kept(Recordings):
    """The recordings of some sessions, in memory."""

    def __init__(self, **sessions: bytes) -> None:
        super().__init__(FolderBlobs(Path("never")), None)
        self._sessions = sessions
        self.fetches = 0

    @asynccontextmanager
    async def fetched(self, tenant: str, session: str, name: str) -> AsyncIterator[BinaryIO]:
        """A recording."""
        self.fetches += 1
        if session not in self._sessions:
            raise BlobMissing("there is no file")
        yield io.BytesIO(self._sessions[session])


class Langfuse:
    """Langfuse and its bucket: what they were asked, and how they answer."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.puts: list[httpx2.Request] = []
        self.reports: list[Any] = []
        self.bucket = BUCKET
        self.has: set[str] = set()
        self.post: Callable[[int], httpx2.Response | None] = lambda number: None
        self.put: Callable[[int], int] = lambda number: 200
        self.patch: Callable[[int], int] = lambda number: 200

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            self.puts.append(request)
            return answered(self.put(len(self.puts)), text="says the bucket")
        assert request.headers["authorization"] == "Basic k"
        body = orjson.loads(request.content)
        if request.method == "PATCH":
            self.reports.append((str(request.url).rpartition("/")[2], body))
            return answered(self.patch(len(self.reports)))
        self.asked.append(body)
        given = self.post(len(self.asked))
        name = body["sha256Hash"].replace("+", "-").replace("/", "_")[:22]
        has = name in self.has
        self.has.add(name)
        return given or answered(201, {"mediaId": name, "uploadUrl": None if has else self.bucket})


def piece(index: int = 0, session: str = "s") -> Piece:
    return Piece(
        "t", session, "recording.flac", f"{index:032}", f"{index:016}", "input", Side.CALLER, index * 100, None
    )


def delivered(
    langfuse: Langfuse, *batches: list[Piece], recordings: Kept | None = None, max_call_bytes: int = MAX_CALL_BYTES
) -> list[Outcome]:
    """Send these batches with one sender."""

    async def main() -> list[Outcome]:
        kept, transport = recordings or Kept(s=SOUND, other=SOUND), httpx2.MockTransport(langfuse)
        sender = MediaSender(TARGET, kept, "patchbay/1", transport, max_call_bytes)
        found = [await sender.deliver(batch) for batch in batches]
        await sender.close()
        return found

    return run(main())


def test_a_file_is_announced_put_and_reported() -> None:
    langfuse = Langfuse()
    assert delivered(langfuse, [piece(4)]) == [Outcome(Result.TAKEN)]
    (asked,), (put,), ((name, report),) = langfuse.asked, langfuse.puts, langfuse.reports
    digest = base64.b64encode(hashlib.sha256(put.content).digest()).decode()
    assert asked == {
        "traceId": f"{4:032}",
        "observationId": f"{4:016}",
        "field": "input",
        "contentType": "audio/ogg",
        "contentLength": len(put.content),
        "sha256Hash": digest,
    }
    assert str(put.url) == BUCKET
    assert put.headers["content-type"] == "audio/ogg"
    assert put.headers["x-ms-blob-type"] == "BlockBlob"
    assert put.headers["x-amz-checksum-sha256"] == digest
    assert "authorization" not in put.headers
    assert (name, report["uploadHttpStatus"]) == (digest.translate({43: 45, 47: 95})[:22], 200)
    assert "uploadHttpError" not in report
    samples, rate_hz = soundfile.read(io.BytesIO(put.content), always_2d=True)
    assert samples.shape == (int(2.6 * rate_hz), 1)


def test_googles_bucket_gets_no_header_that_its_signature_does_not_name() -> None:
    langfuse = Langfuse()
    langfuse.bucket = "https://storage.googleapis.com/b/file"
    delivered(langfuse, [piece()])
    assert not [name for name in langfuse.puts[0].headers if name.startswith("x-")]


def test_a_file_that_is_there_is_only_linked() -> None:
    langfuse = Langfuse()
    assert delivered(langfuse, [piece()], [piece()]) == [Outcome(Result.TAKEN)] * 2
    assert (len(langfuse.asked), len(langfuse.puts), len(langfuse.reports)) == (2, 1, 1)


def test_an_upload_is_tried_three_times_and_then_left_out() -> None:
    langfuse = Langfuse()
    langfuse.put = lambda number: 503
    assert delivered(langfuse, [piece(), piece(1)]) == [Outcome(Result.TAKEN, rejected=2)]
    assert len(langfuse.puts) == 6
    assert [report["uploadHttpStatus"] for _, report in langfuse.reports] == [503, 503]
    assert {report["uploadHttpError"] for _, report in langfuse.reports} == {"says the bucket"}
    langfuse = Langfuse()
    langfuse.put = lambda number: 200 if number == 3 else 500
    assert delivered(langfuse, [piece()]) == [Outcome(Result.TAKEN)]


def test_a_bucket_that_denies_is_not_langfuses_key() -> None:
    langfuse = Langfuse()
    langfuse.put = lambda number: 403
    assert delivered(langfuse, [piece(), piece(1)]) == [Outcome(Result.TAKEN, rejected=2)]
    assert len(langfuse.puts) == 2


def test_after_a_pause_it_goes_on_where_it_was() -> None:
    langfuse = Langfuse()
    langfuse.post = lambda number: answered(503) if number == 2 else None
    pieces = [piece(), piece(1), piece(2)]
    first, second = delivered(langfuse, pieces, pieces)
    assert (first.result, second) == (Result.LATER, Outcome(Result.TAKEN))
    assert [body["traceId"][-1] for body in langfuse.asked] == ["0", "1", "1", "2"]


def test_a_wrong_key_ends_it() -> None:
    langfuse = Langfuse()
    langfuse.post = lambda number: answered(401)
    assert delivered(langfuse, [piece(), piece(1)])[0].result is Result.DENIED
    assert len(langfuse.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        answered(400),
        answered(201, {"mediaId": "another", "uploadUrl": BUCKET}),
        answered(201, {"uploadUrl": 7}),
    ],
)
def test_a_file_that_is_refused_costs_only_itself(answer: httpx2.Response) -> None:
    langfuse = Langfuse()
    langfuse.post = lambda number: answer if number == 1 else None
    assert delivered(langfuse, [piece(), piece(1)]) == [Outcome(Result.TAKEN, rejected=1)]
    assert len(langfuse.puts) == 1


def test_a_recording_that_is_missing_or_broken_costs_only_its_call() -> None:
    langfuse, recordings = Langfuse(), Kept(s=SOUND, broken=b"no sound")
    pieces = [piece(session="gone"), piece(1, "gone"), piece(session="broken"), piece(), piece(1)]
    assert delivered(langfuse, pieces, recordings=recordings) == [Outcome(Result.TAKEN, rejected=3)]
    assert recordings.fetches == 3
    assert len(langfuse.puts) == 2


def test_a_piece_behind_the_end_and_files_past_the_bound_are_left_out() -> None:
    langfuse = Langfuse()
    assert delivered(langfuse, [piece(40)]) == [Outcome(Result.TAKEN, rejected=1)]
    assert langfuse.asked == []
    delivered(langfuse, [piece()])
    most, pieces = langfuse.asked[0]["contentLength"] + 10, [piece(), piece(1), piece(session="other")]
    assert delivered(Langfuse(), pieces, max_call_bytes=most) == [Outcome(Result.TAKEN, rejected=1)]
