"""Uploads the sound of calls to Langfuse: for each piece of a recording an address is asked for, the file is put there,
and Langfuse is told how that went.

A file that Langfuse has already is not uploaded again; then only the link to the observation is made. Source:
`langfuse` 5.0.4, `_task_manager/media_manager.py` (steps, headers, the id of a file) and `api/media`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, BinaryIO

import httpx2
import orjson

from gateway.guard import Boundary, cause_of
from gateway.telemetry.courier.connection import Answer, Connection
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.recordings import Recordings
from gateway.telemetry.langfuse.cutting import CONTENT_TYPE, cut
from gateway.telemetry.langfuse.sound import Piece
from gateway.telemetry.link.destinations import Target

MAX_CALL_BYTES = 200 * 1024 * 1024  # of all files of one call
UPLOAD_S = 60.0  # 20 MiB in this time need 3 Mbit/s
TRIES = 3  # of an upload, and of the report about it
PAUSE_S = 1.0  # before the second try, and twice as long before the third
MAX_ERROR_CHARACTERS = 500
GCS = "storage.googleapis.com"  # it refuses a request with headers that its signature does not name
JSON = "application/json"

log = logging.getLogger("patchbay.telemetry")
TAKEN, REFUSED = Outcome(Result.TAKEN), Outcome(Result.REFUSED)


@dataclass(frozen=True, slots=True)
class File:
    """A piece's file."""

    content: bytes
    sha256: str  # base64

    @classmethod
    def of(cls, content: bytes) -> File:
        """With its hash."""
        return cls(content, base64.b64encode(hashlib.sha256(content).digest()).decode())

    @property
    def media_id(self) -> str:
        """Langfuse's id of it."""
        return self.sha256.replace("+", "-").replace("/", "_")[:22]


class MediaSender:
    """Sends pieces of recordings, one at a time. A piece that cannot be sent is left out and counted as rejected."""

    def __init__(
        self,
        target: Target,
        recordings: Recordings,
        agent: str,
        transport: httpx2.AsyncBaseTransport | None = None,
        max_call_bytes: int = MAX_CALL_BYTES,
    ) -> None:
        """`agent` is our name and version; `transport` is for tests."""
        self._max_call_bytes = max_call_bytes
        self._url = target.url
        self._headers = {**target.headers, "Content-Type": JSON, "User-Agent": agent}
        self._recordings = recordings
        self._api = Connection(target.timeout_s, target.certificate, transport)
        self._storage = Connection(UPLOAD_S, "", transport)  # without our key
        self._done: dict[Piece, int | None] = {}  # of the pieces in hand: bytes, None where one cannot be sent

    async def deliver(self, pieces: Sequence[Any]) -> Outcome:
        """Send these pieces. What was sent before an outcome that asks for another try is not sent again."""
        self._done = {piece: self._done[piece] for piece in pieces if piece in self._done}
        for call, of_call in groupby(pieces, key=lambda piece: (piece.tenant, piece.session, piece.recording)):
            outcome = await self._send_call(call, list(of_call))
            if outcome.result is not Result.TAKEN:
                return outcome
        rejected = sum(1 for piece in pieces if self._done.get(piece) is None)
        self._done = {}
        return Outcome(Result.TAKEN, rejected=rejected)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()
        await self._storage.close()
        await self._recordings.close()

    async def _send_call(self, call: tuple[str, str, str], pieces: list[Piece]) -> Outcome:
        if all(piece in self._done for piece in pieces):
            return TAKEN
        with Boundary(_log_fault):  # its recording is missing, too large, or none
            async with self._recordings.fetched(*call) as file:
                return await self._send_pieces(file, pieces)
        return TAKEN

    async def _send_pieces(self, recording: BinaryIO, pieces: list[Piece]) -> Outcome:
        for piece in pieces:
            if piece in self._done:
                continue
            content = await asyncio.to_thread(cut, recording, piece)
            sent_bytes = sum(self._done.get(one) or 0 for one in pieces)
            fits = bool(content) and sent_bytes + len(content) <= self._max_call_bytes
            outcome = await self._send(piece, File.of(content)) if fits else REFUSED
            if outcome.result in (Result.LATER, Result.DENIED):
                return outcome
            self._done[piece] = len(content) if outcome.result is Result.TAKEN else None
        return TAKEN

    async def _send(self, piece: Piece, file: File) -> Outcome:
        asked = {
            "traceId": piece.trace_id,
            "observationId": piece.observation_id,
            "field": piece.field,
            "contentType": CONTENT_TYPE,
            "contentLength": len(file.content),
            "sha256Hash": file.sha256,
        }
        outcome, answer = await self._ask("POST", self._url, asked)
        if outcome.result is not Result.TAKEN:
            return outcome
        given = _object(answer.body)
        address = given.get("uploadUrl")
        if not address:
            return TAKEN  # it has the file
        if given.get("mediaId") != file.media_id or not isinstance(address, str):
            return REFUSED
        return await self._upload(address, file)

    async def _upload(self, address: str, file: File) -> Outcome:
        headers = {"Content-Type": CONTENT_TYPE}
        if GCS not in address:
            headers |= {"x-ms-blob-type": "BlockBlob", "x-amz-checksum-sha256": file.sha256}
        begun_s = time.monotonic()
        outcome, answer = await _tried(lambda: self._storage.ask("PUT", address, file.content, headers))
        report = {
            "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "uploadHttpStatus": answer.status,
            "uploadTimeMs": round((time.monotonic() - begun_s) * 1000),
        }
        if outcome.result is not Result.TAKEN:
            report["uploadHttpError"] = answer.body.decode("utf-8", "replace")[:MAX_ERROR_CHARACTERS]
        if answer.status:
            told, _ = await _tried(lambda: self._ask("PATCH", f"{self._url}/{file.media_id}", report))
            if told.result is not Result.TAKEN:
                return REFUSED
        return TAKEN if outcome.result is Result.TAKEN else REFUSED

    async def _ask(self, method: str, url: str, body: Mapping[str, Any]) -> tuple[Outcome, Answer]:
        return await self._api.ask(method, url, orjson.dumps(body), self._headers)


async def _tried(ask: Callable[[], Awaitable[tuple[Outcome, Answer]]]) -> tuple[Outcome, Answer]:
    """Ask up to three times."""
    for tried in range(1, TRIES + 1):
        outcome, answer = await ask()
        if outcome.result is not Result.LATER or tried == TRIES:
            break
        await asyncio.sleep(PAUSE_S * tried)
    return outcome, answer


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _log_fault(fault: BaseException) -> None:
    log.error("the sound of a call cannot be sent", extra=cause_of(fault))
