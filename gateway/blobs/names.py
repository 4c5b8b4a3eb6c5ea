"""The names of blobs: TENANT/SESSION/NAME, each part quoted so that it fits a file system and a blob store."""

from __future__ import annotations

from urllib.parse import quote, unquote

from gateway.blobs.contract import PLAIN_NAME, BadBlobName

LONGEST_PART = 255  # bytes of a file name on common file systems
DOT = "%2E"


def session_parts(tenant: str, session_id: str) -> tuple[str, str]:
    """The quoted names of a tenant and a session; different texts have different names. Raises BadBlobName."""
    return _part(tenant, "tenant"), _part(session_id, "session")


def unquoted(tenant_part: str, session_part: str) -> tuple[str, str]:
    """The tenant and the session of quoted names: the inverse of `session_parts`."""
    return unquote(tenant_part), unquote(session_part)


def plain_name(name: str) -> str:
    """The name of a file, unchanged. Raises BadBlobName if it is not plain."""
    if not PLAIN_NAME.fullmatch(name):
        raise BadBlobName("a file name may hold letters, digits, dots, dashes and underscores")
    return name


def _part(text: str, kind: str) -> str:
    part = quote(text, safe="", errors="replace")
    # A dot at the beginning hides a file or leads up. Azure Blob Storage allows none at the end of a part.
    if part.startswith("."):
        part = DOT + part[1:]
    if part.endswith("."):
        part = part[:-1] + DOT
    if not part or len(part) > LONGEST_PART:
        raise BadBlobName(f"the {kind} name is empty or too long")
    return part
