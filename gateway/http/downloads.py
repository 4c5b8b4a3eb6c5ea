"""Sends the files of sessions from the blob store: whole, or one part of them, always through this process.

So the key is checked for each request, each access is logged, and no address of the blob store leaves the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar, cast
from urllib.parse import quote

from fastapi import Request, Response

from gateway.auth.http import Receive, Scope, Send, refusal_response
from gateway.auth.requests import Refusal
from gateway.blobs.contract import BlobFailed, Blobs
from gateway.guard import Boundary, kind_and_place
from gateway.http.ranges import UNIT, Answer, Conditions, Part, answer_to
from gateway.net.upgrade import CUT

AS_HEAD = "patchbay.head"  # is in the scope of a HEAD request, which the routes see as GET
READ_S = 30.0  # for the blob store to deliver the next piece
SEND_S = 60.0  # for the client to take the next piece

PAST_END = Refusal(416, "range_not_satisfiable", "The range begins behind the end of the file; see Content-Range.")
CHANGED = Refusal(412, "precondition_failed", "The file does not have the ETag that If-Match names.")
REFUSALS = {416: PAST_END, 412: CHANGED}
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac"}  # by the ending of the file's name; all others are JSON lines

log = logging.getLogger("patchbay.api")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the blob store. `version` changes with each new content of a file with this name; None: unknown."""

    tenant: str
    session_id: str
    name: str
    version: str | None

    def etag(self, size_bytes: int) -> str | None:
        """A strong validator: it tells nothing of what it is made from. None if the version is not known."""
        if self.version is None:
            return None
        facts = "\n".join((self.tenant, self.session_id, self.name, self.version, str(size_bytes)))
        return f'"{blake2b(facts.encode("utf-8", "replace"), digest_size=16).hexdigest()}"'

    def headers(self, size_bytes: int) -> dict[str, str]:
        """The headers that describe the file, whatever part of it is sent."""
        filename = f"{self.session_id}-{self.name}"
        quoted = quote(filename, safe="", errors="replace")
        shown = f'filename="{filename}"' if quoted == filename else f"filename*=utf-8''{quoted}"
        headers = {"accept-ranges": UNIT, "content-disposition": f"attachment; {shown}"}
        etag = self.etag(size_bytes)
        return headers if etag is None else headers | {"etag": etag}

    def log(self, status: int, sent_bytes: int) -> None:
        """Log one access: which file, and how much of it was sent."""
        fields = {"session_id": self.session_id, "file": self.name, "status": status, "payload_bytes": sent_bytes}
        log.info("a file of a session was asked for", extra=fields)


async def download(request: Request, blobs: Blobs, file: StoredFile) -> Response:
    """The answer to a request for a file. Raises BlobMissing, BlobFailed and BadBlobName."""
    size_bytes = await _in_time(blobs.size(file.tenant, file.session_id, file.name))
    head = AS_HEAD in request.scope
    lines = request.headers.getlist
    asked = Conditions(lines("range"), lines("if-range"), lines("if-match"), lines("if-none-match"))
    answer = answer_to(asked, size_bytes, file.etag(size_bytes), head=head)
    headers = file.headers(size_bytes)
    if answer.part is None or head:
        file.log(answer.status, 0)
    if answer.part is None:
        return _without_file(answer, headers, size_bytes)
    headers["content-length"] = str(answer.part.length_bytes)
    if answer.status == 206:
        last = answer.part.offset_bytes + answer.part.length_bytes - 1
        headers["content-range"] = f"{UNIT} {answer.part.offset_bytes}-{last}/{size_bytes}"
    headers["content-type"] = MEDIA_TYPES.get(file.name.rpartition(".")[2], "application/jsonl")
    if head:
        return Response(None, answer.status, headers)
    pieces = blobs.read(file.tenant, file.session_id, file.name, answer.part.offset_bytes, answer.part.length_bytes)
    # An error of the blob store can be answered only as long as nothing was sent.
    first = await _next(pieces) if answer.part.length_bytes else b""
    return FileAnswer(file, answer.part, first, pieces, answer.status, headers)


async def _in_time(work: Awaitable[T]) -> T:
    """What the blob store answers. Raises BlobFailed if it does not answer."""
    try:
        async with asyncio.timeout(READ_S):
            return await work
    except TimeoutError:
        raise BlobFailed("the blob store does not answer") from None


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    """The next piece. Raises BlobFailed, also at an early end of the file."""
    try:
        return await _in_time(anext(pieces))
    except StopAsyncIteration:
        raise BlobFailed("a file in the blob store is shorter than it was") from None


def _without_file(answer: Answer, headers: dict[str, str], size_bytes: int) -> Response:
    refusal = REFUSALS.get(answer.status)
    if refusal is None:
        return Response(None, answer.status, headers)
    response = refusal_response(refusal)
    response.headers["accept-ranges"] = UNIT
    if refusal is PAST_END:
        response.headers["content-range"] = f"{UNIT} */{size_bytes}"
    return response


class FileAnswer(Response):
    """Streams one part of a file, of which the first piece is read. If a later one fails, the connection is cut off."""

    def __init__(
        self,
        file: StoredFile,
        part: Part,
        first: bytes,
        pieces: AsyncIterator[bytes],
        status: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, status, headers)
        self._file = file
        self._length_bytes = part.length_bytes
        self._first = first
        self._pieces = pieces
        self._sent_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        # Not left to the garbage collector: the blob store may hold a connection or a file open.
        async with aclosing(cast("AsyncGenerator[bytes, None]", self._pieces)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            fault = await self._send_until_hang_up(receive, send)
        if fault is None:
            self._file.log(self.status_code, self._sent_bytes)
            return
        self._log_broken(fault)
        await _cut_off(scope, receive)

    async def _send_until_hang_up(self, receive: Receive, send: Send) -> BaseException | None:
        """Send all pieces, unless the client hangs up before; return what went wrong."""
        faults: list[BaseException] = []

        async def send_all() -> None:
            with Boundary(faults.append):
                await self._send_all(send)

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send_all())
            hung_up = tasks.create_task(_hung_up(receive))
            await asyncio.wait((sending, hung_up), return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            hung_up.cancel()
        return faults[0] if faults else None

    async def _send_all(self, send: Send) -> None:
        piece = self._first
        while True:
            sent_bytes = self._sent_bytes + len(piece)
            more = sent_bytes < self._length_bytes
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            self._sent_bytes = sent_bytes
            if not more:
                return
            piece = await _next(self._pieces)

    def _log_broken(self, fault: BaseException) -> None:
        if isinstance(fault, BlobFailed):
            reason = str(fault)
        else:
            reason = "the client does not take it" if isinstance(fault, TimeoutError) else kind_and_place(fault)
        fields = {"session_id": self._file.session_id, "file": self._file.name, "payload_bytes": self._sent_bytes}
        log.error("a file of a session was not sent to its end", extra=fields | {"reason": reason})


async def _hung_up(receive: Receive) -> None:
    """Return once the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut_off(scope: Scope, receive: Receive) -> None:
    """Close the connection in the middle of an answer, so that the client sees that it is not whole."""
    cut = scope.get("extensions", {}).get(CUT)
    if cut is not None:
        cut()
        await _hung_up(receive)  # uvicorn logs an answer without an end, unless the connection was closed before
