"""What an error of azure-storage-blob means: a file is missing, the store cannot be reached, or a setting is wrong.

The messages hold the service's status and error code, but never its text, which may repeat headers and names of files.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.config.blob_places import AzurePlace
from gateway.guard import kind_and_place
from sessions.errors import VoiceError

ROLE = "Storage Blob Data Contributor"
RANGE = 416  # "Range Not Satisfiable"

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerBeingDeleted"})
# Statuses after which the same request never succeeds. All other refusals pass: a role is granted, a container is made
# again, the network's rules are changed. Meanwhile the recordings wait.
_LASTING = frozenset({400, 411, 413, 414})
_LASTING_NEVER = frozenset({"InvalidBlockList", "InvalidBlobOrBlock"})  # another upload of the file was faster
_THROTTLED = frozenset({408, 429})


class NoContainer(BlobFailed):
    """The account has no such container."""


class ContainerExists(BlobFailed):
    """The container that was to be made is there."""


class PastTheEnd(BlobFailed):
    """A range begins behind the end of its file."""


def translated(fault: BaseException, place: AzurePlace, *, has_key: bool, at_start: bool = False) -> VoiceError:
    """The contract's error for whatever the SDK has raised.

    `at_start`: what would pass later is a mistake in the settings as long as nothing has worked with them.
    """
    if isinstance(fault, BlobFailed | BlobMissing):
        return fault
    status, code = getattr(fault, "status_code", None), _code_of(fault)
    if not isinstance(status, int):  # there was no answer
        return _unanswered(fault, place, at_start=at_start)
    answer = f"{status} {code}" if code else str(status)
    if status in (401, 403):
        return BlobFailed(f"{place} refuses us ({answer}): {_advice(place, has_key)}", passing=not at_start)
    if code in _NO_CONTAINER:
        advice = "create it" if place.create or not has_key else "create it, or add ?create=1"
        return NoContainer(f"there is no container {place.container} at {place.account_url}; {advice}")
    if code == "ContainerAlreadyExists":
        return ContainerExists(f"{place} is there")
    if status == RANGE:
        return PastTheEnd("the file ends before this range")
    if status == 404:
        return BlobMissing("there is no such file")
    refused = 400 <= status < 500 and status not in _THROTTLED
    lasting = status in _LASTING and code not in _LASTING_NEVER
    return BlobFailed(f"{place} answered {answer}", passing=not (refused if at_start else lasting))


def _advice(place: AzurePlace, has_key: bool) -> str:
    rules = "or the account's network rules exclude this machine"
    if has_key:
        return f"PATCHBAY_BLOB_KEY is not a key of the account {place.account}, the account allows no keys, {rules}"
    return f"this process's identity needs the role {ROLE} for the container, {rules}"


def _unanswered(fault: BaseException, place: AzurePlace, *, at_start: bool) -> BlobFailed:
    if any(isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME for cause in _causes(fault)):
        return BlobFailed(f"the host of {place} is not known; check the account's name", passing=not at_start)
    names = {kind.__name__ for kind in type(fault).__mro__}
    if "AzureSigningError" in names:
        return BlobFailed("PATCHBAY_BLOB_KEY cannot sign requests; copy it from the portal again", passing=not at_start)
    if "ClientAuthenticationError" in names:  # raised by azure-identity, which has asked all that it knows
        return BlobFailed(
            f"there is no Entra token for {place} ({type(fault).__name__}); set PATCHBAY_BLOB_KEY, or give this "
            f"process an identity that has the role {ROLE}",
            passing=not at_start,
        )
    kind = type(fault).__name__ if names & {"AzureError", "TimeoutError"} else kind_and_place(fault)
    return BlobFailed(f"{place} does not answer ({kind})")


def _code_of(fault: BaseException) -> str:
    """The service's error code; empty if there is none. It may be an enum of the SDK."""
    code = getattr(fault, "error_code", None)
    text = getattr(code, "value", code)
    return text if isinstance(text, str) and _CODE.fullmatch(text) else ""


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, at most ten errors."""
    found: BaseException | None = fault
    for _ in range(10):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__
