"""The setting of the blob store: a folder, or a container of Azure Blob Storage.

Source: the rules for the names of storage accounts and containers, learn.microsoft.com, "Naming and Referencing
Containers, Blobs, and Metadata" and "Storage account name".
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from gateway.config.names import OWN_NAMES
from gateway.config.urls import is_this_machine

FORMS = "folder://PATH, azblob://ACCOUNT/CONTAINER or azblob+http://127.0.0.1:PORT/ACCOUNT/CONTAINER"
PUBLIC_CLOUD = "blob.core.windows.net"

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
# An account in another cloud than the public one is named with its whole host.
_HOST = re.compile(r"([a-z0-9]{3,24})(\.[a-z0-9-]+)*\.blob\.[a-z0-9.-]+")
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class AzurePlace:
    """A container of Azure Blob Storage; `create`: it is made if it is missing."""

    account: str
    container: str
    account_url: str  # over https, or over plain http with the account in its path, as emulators have it
    create: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the connection is not encrypted."""
        return self.account_url.startswith("http://")

    def __str__(self) -> str:
        return f"the container {self.container} at {self.account_url}"


def read_blob_place(url: str) -> FolderPlace | AzurePlace:
    """The place that the setting names. Raises ValueError, which says what is wrong and does not show the setting."""
    scheme, _, rest = url.partition("://")
    if scheme == "folder" and rest:
        return FolderPlace(Path(rest))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"must be one of {FORMS}") from None
    if parts.username is not None or parts.fragment or not url.isprintable():
        raise ValueError("must hold no user name and no fragment; a key has a setting of its own")
    names = parts.path.strip("/").split("/")
    match scheme, names:
        case "azblob", [container] if port is None:
            account, host = _account_of(parts.hostname or "")
            return AzurePlace(account, _container(container), f"https://{host}", _create(parts))
        case "azblob+http", [account, container] if parts.hostname:
            if not _ACCOUNT.fullmatch(account):
                raise ValueError("the account's name has 3 to 24 small letters and digits")
            return AzurePlace(account, _container(container), f"http://{parts.netloc}/{account}", _create(parts))
    raise ValueError(f"must be one of {FORMS}")


def check_blob_key(key: str) -> None:
    """Raise ValueError if this is no key of a storage account; the message does not show it."""
    try:
        fits = len(b64decode(key, validate=True)) >= 16
    except (binascii.Error, ValueError):
        fits = False
    if not fits:
        raise ValueError("must be a key of the storage account, in base64 as the portal shows it")


def blob_faults(url: str, *, has_key: bool, plain_allowed: bool) -> Iterator[str]:
    """What other settings the setting `blobs` needs, as `field: message`."""
    place = read_blob_place(url)
    if not isinstance(place, AzurePlace):
        return
    key, plain = OWN_NAMES["blob_key"], OWN_NAMES["store_plain"]
    if place.is_plain and not has_key:
        yield f"blobs: azblob+http:// needs a key; set {key}"
    elif place.create and not has_key:
        yield f"blobs: create=1 needs a key; set {key}, or create the container and take out create=1"
    if place.is_plain and not plain_allowed and not is_this_machine(place.account_url):
        yield f"blobs: plain http goes to this machine only; write azblob://ACCOUNT/CONTAINER, or set {plain}=1"


def _account_of(host: str) -> tuple[str, str]:
    """The account's name and its host."""
    if _ACCOUNT.fullmatch(host):
        return host, f"{host}.{PUBLIC_CLOUD}"
    whole = _HOST.fullmatch(host)
    if whole is None:
        raise ValueError("the account's name has 3 to 24 small letters and digits")
    return whole[1], host


def _container(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError("the container's name has 3 to 63 small letters, digits and single dashes between them")
    return name


def _create(parts: SplitResult) -> bool:
    match parse_qsl(parts.query, keep_blank_values=True):
        case []:
            return False
        case [("create", "0" | "1" as digit)]:
            return digit == "1"
    raise ValueError("may end with ?create=1 only; a key has a setting of its own")
