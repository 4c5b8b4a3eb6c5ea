"""Makes the blob store that the setting `blobs` names, and opens it."""

from __future__ import annotations

import logging

from pydantic import SecretStr

from gateway.blobs.azure import AzureBlobs
from gateway.blobs.contract import BlobFailed, Blobs
from gateway.blobs.folder import FolderBlobs
from gateway.config.blob_places import FolderPlace, read_blob_place

log = logging.getLogger("patchbay.blobs")


def make_blobs(url: str, key: SecretStr | None, *, inline: bool = False) -> Blobs:
    """Make the blob store that `url` names, without opening it. Raises ValueError for a URL that names none."""
    place = read_blob_place(url)
    if isinstance(place, FolderPlace):
        return FolderBlobs(place.path, inline=inline)
    return AzureBlobs(place, None if key is None else key.get_secret_value())


async def open_or_wait(blobs: Blobs) -> None:
    """Open a blob store. If it cannot be reached now, recordings wait for it.

    Raises BlobFailed if a setting is wrong; the message names it.
    """
    try:
        await blobs.open()
    except BlobFailed as error:
        if not error.passing:
            raise BlobFailed(f"PATCHBAY_BLOBS: {error}", passing=False) from error
        log.error("the blob store cannot be reached at the start; recordings wait", extra={"reason": str(error)})
