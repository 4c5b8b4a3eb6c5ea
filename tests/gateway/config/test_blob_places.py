"""The setting of the blob store: what it may say, and what it needs beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.blob_places import AzurePlace, FolderPlace, blob_faults, check_blob_key, read_blob_place

LOCAL = "azblob+http://127.0.0.1:10000/devstoreaccount1/recordings"
REMOTE = "azblob+http://azurite:10000/devstoreaccount1/recordings"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("folder://./data/blobs", FolderPlace(Path("data/blobs"))),
        ("folder:///var/lib/blobs", FolderPlace(Path("/var/lib/blobs"))),
        ("azblob://acme1/calls", AzurePlace("acme1", "calls", "https://acme1.blob.core.windows.net")),
        ("azblob://acme1/calls/", AzurePlace("acme1", "calls", "https://acme1.blob.core.windows.net")),
        ("azblob://acme1/calls?create=0", AzurePlace("acme1", "calls", "https://acme1.blob.core.windows.net")),
        ("azblob://acme1/calls?create=1", AzurePlace("acme1", "calls", "https://acme1.blob.core.windows.net", True)),
        (
            "azblob://acme1.blob.core.usgovcloudapi.net/calls",
            AzurePlace("acme1", "calls", "https://acme1.blob.core.usgovcloudapi.net"),
        ),
        (LOCAL, AzurePlace("devstoreaccount1", "recordings", "http://127.0.0.1:10000/devstoreaccount1")),
    ],
)
def test_a_place_is_read(url: str, place: object) -> None:
    assert read_blob_place(url) == place


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must be one of"),
        ("blobs", "must be one of"),
        ("folder://", "must be one of"),
        ("folder:/x", "must be one of"),
        ("s3://bucket/x", "must be one of"),
        ("azblob://acme1", "must be one of|container"),
        ("azblob://acme1/", "container"),
        ("azblob://acme1/a/b", "must be one of"),
        ("azblob://acme1:443/calls", "must be one of"),
        ("azblob://acme1:x/calls", "must be one of"),
        ("azblob://ac/calls", "3 to 24"),
        ("azblob://acme-1/calls", "3 to 24"),
        ("azblob://acme.example.com/calls", "3 to 24"),
        ("azblob://acme1/Calls", "container"),
        ("azblob://acme1/ca", "container"),
        ("azblob://acme1/my--calls", "container"),
        ("azblob://acme1/-calls", "container"),
        ("azblob://acme1/calls?create=yes", "create=1"),
        ("azblob://acme1/calls?sv=2022&sig=abc", "key has a setting"),
        ("azblob://acme1/calls#x", "no fragment"),
        ("azblob://me:secret@acme1/calls", "no user name"),
        ("azblob+http://127.0.0.1:10000/calls", "must be one of"),
        ("azblob+http://127.0.0.1:10000/A/calls", "3 to 24"),
        ("azblob+http:///acme1/calls", "must be one of"),
    ],
)
def test_a_place_that_cannot_be_is_refused_and_not_shown(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_blob_place(url)
    for secret in ("secret", "abc"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("key", ["", "x", "no base64!", "sv=2022-11-02&sig=abc%3D", "c2hvcnQ="])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="base64") as refused:
        check_blob_key(key)
    assert not key or key == "x" or key not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "has_key", "plain_allowed", "why"),
    [
        ("folder://x", False, False, []),
        ("azblob://acme1/calls", False, False, []),
        ("azblob://acme1/calls?create=1", True, False, []),
        ("azblob://acme1/calls?create=1", False, False, ["blobs: create=1 needs a key; set PATCHBAY_BLOB_KEY"]),
        (LOCAL, True, False, []),
        (LOCAL, False, False, ["blobs: azblob+http:// needs a key; set PATCHBAY_BLOB_KEY"]),
        (REMOTE, True, False, ["blobs: plain http goes to this machine only"]),
        (REMOTE, True, True, []),
    ],
)
def test_what_a_place_needs_beside_it_is_told(url: str, has_key: bool, plain_allowed: bool, why: list[str]) -> None:
    faults = list(blob_faults(url, has_key=has_key, plain_allowed=plain_allowed))
    assert [fault.startswith(begin) for fault, begin in zip(faults, why, strict=True)] == [True] * len(why)
