"""Keeps the files of calls in a container of Azure Blob Storage, through `azure-storage-blob` (12.31.1).

Files are block blobs with the names of `gateway/blobs/names.py`. Source: the SDK's own code, and learn.microsoft.com,
"Put Block", "Put Block List" and "Blob Batch".
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gateway.blobs.azure_faults import ContainerExists, NoContainer, PastTheEnd, translated
from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.blobs.disk import passes
from gateway.blobs.names import plain_name, session_parts
from gateway.config.blob_places import AzurePlace
from gateway.config.urls import is_near
from gateway.entra.credential import load_credential
from gateway.guard import Boundary, cause_of

BLOCK_BYTES = 4 * 1024 * 1024
SINGLE_BYTES = 1024 * 1024  # up to this size a file is one request
PIECE_BYTES = 1024 * 1024  # one request of a download
SOCKET_BYTES = 64 * 1024  # one read from the connection
BATCH_BLOBS = 256  # the service's limit for one batch

CONNECT_S = 5
ANSWER_S = 15  # from the last byte of a request to the first of its answer
OPERATION_S = 60.0  # one request with its retries; 4 MiB in this time need 0.6 Mbit/s
CLOSE_S = 5.0

# azurite 3.37 refuses the SDK's newest version of the API, and does not know each of the older ones.
EMULATOR_API = "2026-06-06"
CONTENT_TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".jsonl": "application/jsonl"}
BYTES = "application/octet-stream"
UNENCRYPTED = "recordings go to the blob store over plain http"

log = logging.getLogger("patchbay.blobs")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sdk:
    """The loaded SDK: a client of the container, the class of content settings, and an Entra credential to close."""

    container: Any
    settings: Any
    credential: Any | None


class AzureBlobs:
    """Stores files as blobs TENANT/SESSION/NAME in one container."""

    def __init__(self, place: AzurePlace, key: str | None) -> None:
        """`key` is a key of the storage account; without one, the process's Entra identity is used."""
        self._place = place
        self._key = key
        self._sdk: Sdk | None = None
        self._container_seen = False

    async def open(self) -> None:
        """Load the SDK in a thread, which takes 0.3 s of CPU, and look at the container."""
        if self._place.is_plain and not is_near(self._place.account_url):
            log.warning(UNENCRYPTED, extra={"place": str(self._place)})
        with Boundary(self._not_loaded):
            self._sdk = await asyncio.to_thread(_load, self._place, self._key)
        try:
            await self._look_at_container(at_start=True)
        except BlobFailed as error:
            if not error.passing:
                await self.close()
            raise

    async def close(self) -> None:
        """Close connections."""
        sdk, self._sdk = self._sdk, None
        for part in () if sdk is None else (sdk.container, sdk.credential):
            if part is not None:
                with Boundary(_not_closed):
                    async with asyncio.timeout(CLOSE_S):
                        await part.close()

    async def put_file(self, tenant: str, session_id: str, name: str, path: Path) -> int:
        """Send the file block by block, and then name the blocks that make up the blob. Holds one block in memory."""
        blob = self._blob(tenant, session_id, name)
        settings = self._loaded.settings(content_type=CONTENT_TYPES.get(Path(name).suffix, BYTES))
        if not self._container_seen:
            await self._look_at_container()
        facts = await _offload(path.stat)
        if facts.st_size <= SINGLE_BYTES:
            content = await _read(path, 0, facts.st_size)
            await self._ask(partial(blob.upload_blob, content.getvalue(), overwrite=True, content_settings=settings))
            return facts.st_size
        blocks = blocks_of(facts)
        for block in blocks:
            content = await _read(path, block.offset, block.length)
            await self._ask(partial(blob.stage_block, block.id, content, length=block.length))
            del content  # before the next one is read
        names = [block.id for block in blocks]
        await self._ask(partial(blob.commit_block_list, names, content_settings=settings))
        return facts.st_size

    async def size(self, tenant: str, session_id: str, name: str) -> int:
        """The size of a file in bytes."""
        blob = self._blob(tenant, session_id, name)
        return int((await self._ask(blob.get_blob_properties)).size)

    async def read(
        self, tenant: str, session_id: str, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a part of a file in pieces, each of them one request. A file that is replaced meanwhile is an error."""
        if length is not None and length <= 0:
            await self.size(tenant, session_id, name)  # a range of no bytes cannot be asked for
            return
        blob = self._blob(tenant, session_id, name)
        # A range that begins with the first byte and has no end cannot be asked for in an empty file.
        begin = None if offset == 0 and length is None else offset
        try:
            download = await self._ask(partial(blob.download_blob, offset=begin, length=length))
        except PastTheEnd:
            return
        pieces = download.chunks()
        while piece := await self._ask(partial(anext, pieces, b"")):
            yield piece

    async def delete_session(self, tenant: str, session_id: str) -> None:
        """Remove the blobs below a session's name, in batches."""
        prefix = "/".join((*session_parts(tenant, session_id), ""))
        try:
            names = await self._ask(partial(self._names, prefix))
        except NoContainer:
            return
        for first in range(0, len(names), BATCH_BLOBS):
            await self._ask(partial(self._delete, names[first : first + BATCH_BLOBS]))

    @property
    def _loaded(self) -> Sdk:
        if self._sdk is None:
            raise BlobFailed("the blob store is not open")
        return self._sdk

    def _blob(self, tenant: str, session_id: str, name: str) -> Any:
        path = "/".join((*session_parts(tenant, session_id), plain_name(name)))
        return self._loaded.container.get_blob_client(path)

    async def _look_at_container(self, *, at_start: bool = False) -> None:
        """Make sure that there is a container, and that only its owners can read it. Raises BlobFailed."""
        container = self._loaded.container
        try:
            facts = await self._ask(container.get_container_properties, at_start=at_start)
        except BlobMissing:
            advice = f"there is no account {self._place.account} behind {self._place}; check its name"
            raise BlobFailed(advice, passing=not at_start) from None
        except NoContainer as error:
            if not self._place.create:
                raise BlobFailed(str(error), passing=not at_start) from None
            with suppress(ContainerExists):  # another process was faster
                await self._ask(container.create_container, at_start=at_start)  # private, unless one says otherwise
        else:
            if facts.public_access is not None:
                raise BlobFailed(
                    f"{self._place} can be read by everybody; set its access level to private", passing=not at_start
                )
        self._container_seen = True

    async def _names(self, prefix: str) -> list[str]:
        return [name async for name in self._loaded.container.list_blob_names(name_starts_with=prefix)]

    async def _delete(self, names: list[str]) -> None:
        # An emulator has the account in its path, which the SDK adds to the parts of a batch only for 127.0.0.1.
        prepend = {"url_prepend": self._place.account} if self._place.is_plain else {}
        container = self._loaded.container
        parts = await container.delete_blobs(*names, delete_snapshots="include", raise_on_any_failure=False, **prepend)
        async for part in parts:
            if part.status_code not in (202, 404):  # 404: another process has deleted it
                raise BlobFailed(f"{self._place} answered {int(part.status_code)} to a deletion")

    async def _ask(self, work: Callable[[], Awaitable[T]], *, at_start: bool = False) -> T:
        """Do one operation of the SDK in bounded time. Raises BlobMissing and BlobFailed, and nothing of the SDK."""
        with Boundary(partial(self._raise, at_start)):
            async with asyncio.timeout(OPERATION_S):
                return await work()
        raise AssertionError("the boundary raises what it has caught")

    def _raise(self, at_start: bool, fault: BaseException) -> NoReturn:
        meaning = translated(fault, self._place, has_key=self._key is not None, at_start=at_start)
        if isinstance(meaning, NoContainer):
            self._container_seen = False  # the next file looks for it again, and may make it
        raise meaning from None  # without a cause: the SDK's errors hold requests with their headers

    def _not_loaded(self, fault: BaseException) -> NoReturn:
        if isinstance(fault, ImportError):
            raise BlobFailed(
                "azblob:// needs more packages: pip install 'patchbay[azure-blob]'", passing=False
            ) from fault
        raise BlobFailed(
            f"the client of {self._place} cannot be made ({type(fault).__name__})", passing=False
        ) from None


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a file: its id in the blob, where it begins in the file, and its length in bytes."""

    id: str
    offset: int
    length: int


def blocks_of(facts: os.stat_result) -> list[Block]:
    """The blocks of a file in order; all ids are equally long, as the service demands.

    A file that is sent again replaces its own blocks, so that broken uploads do not add up. Another file's blocks have
    other ids, so that two files are never mixed.
    """
    file = f"{facts.st_mtime_ns:016x}{facts.st_size:012x}"
    offsets = range(0, facts.st_size, BLOCK_BYTES)
    return [Block(f"{file}{offset:012x}", offset, min(BLOCK_BYTES, facts.st_size - offset)) for offset in offsets]


def _load(place: AzurePlace, key: str | None) -> Sdk:
    """Import the SDK and make a client; nothing is sent. Raises ImportError and what the SDK raises."""
    blobs, settings = import_module("azure.storage.blob.aio"), import_module("azure.storage.blob").ContentSettings
    transport = import_module("azure.core.pipeline.transport").AioHttpTransport(
        connection_timeout=CONNECT_S,
        read_timeout=ANSWER_S,
        connection_data_block_size=SOCKET_BYTES,
        use_env_settings=not is_near(place.account_url),  # a proxy cannot reach this machine
    )
    credential = load_credential() if key is None else None
    named_key = import_module("azure.core.credentials").AzureNamedKeyCredential
    container = blobs.ContainerClient(
        place.account_url,
        place.container,
        credential=credential or named_key(place.account, key),
        transport=transport,
        # The default waits for a minute and more; the async client needs the retries of its own module.
        retry_policy=blobs.LinearRetry(backoff=1, retry_total=2, random_jitter_range=0),
        max_single_put_size=SINGLE_BYTES,
        max_single_get_size=PIECE_BYTES,
        max_chunk_get_size=PIECE_BYTES,
        **({"api_version": EMULATOR_API} if place.is_plain else {}),
    )
    return Sdk(container, settings, credential)


async def _read(path: Path, offset: int, length: int) -> BytesIO:
    """Read a block in a thread. aiohttp sends it in small pieces, where it would copy `bytes` into one buffer.

    Raises BlobFailed if the file has become shorter.
    """

    def read() -> BytesIO:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return BytesIO(file.read(length))

    content = await _offload(read)
    if content.getbuffer().nbytes != length:
        raise BlobFailed("a file has changed while it was stored", passing=False)
    return content


async def _offload(work: Callable[[], T]) -> T:
    """Use the disk in a thread. Raises BlobFailed."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        problem = f"{error.filename or 'a file'} cannot be read: {error.strerror}"
        raise BlobFailed(problem, passing=passes(error)) from error


def _not_closed(fault: BaseException) -> None:
    log.warning("a connection to the blob store could not be closed", extra=cause_of(fault))
