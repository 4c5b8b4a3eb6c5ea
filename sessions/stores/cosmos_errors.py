"""Turns what azure-cosmos, azure-core and aiohttp raise into the errors of the store's contract.

It tells errors apart by their HTTP status and the names of their classes, so it imports none of these packages. No
message repeats the service's own words, which may quote a document or a query.
Source: learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from enum import Enum

from sessions.errors import VoiceError
from sessions.stores.contract import (
    BadCursor,
    BadDocument,
    Conflict,
    Missing,
    StoreBusy,
    StoreFailed,
    StoreMisconfigured,
)

RETRY_AFTER = "x-ms-retry-after-ms"
REQUEST_CHARGE = "x-ms-request-charge"
BUSY_MS = 1_000  # the wait if the service names none
BUSY_MAX_MS = 60_000
# Substatuses of 404. Source: azure.cosmos.http_constants
SESSION_NOT_AVAILABLE = 1002  # this replica has not seen yet what the client has written or read
OWNER_NOT_FOUND = 1003  # the database or the container is gone
# Substatuses of 403 that pass: the write region is moving, or the account is not known in this region yet.
MOVING = frozenset({3, 1008})
_NO_IDENTITY = frozenset({"ClientAuthenticationError", "CredentialUnavailableError"})
_TOO_LATE = frozenset({"TimeoutError", "CosmosClientTimeoutError", "ServiceResponseTimeoutError"})
# No answer came: azure-core's, aiohttp's and the sockets' own errors.
_UNREACHED = frozenset({"ServiceRequestError", "ServiceResponseError", "IncompleteReadError", "ClientError", "OSError"})
REFUSED = 400  # the least status of a refusal


class Purpose(Enum):
    """What a request is for, which decides what a missing or present document means."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"  # its condition, if it has one, does not hold where the document is gone
    GO_ON = "go on"  # reading on after a position that somebody gave


def translated(error: BaseException, host: str, place: str, purpose: Purpose, *, key: bool) -> VoiceError:
    """The contract's error for what a request to `host` raised; `place` names the container for people.

    `key` says whether the account's key is used, otherwise it is Entra ID.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    innermost = type(chain[-1]).__name__
    if names & _NO_IDENTITY:  # its status, if it has one, is the identity service's
        return StoreFailed(
            f"there is no Entra token for {host} ({innermost}); set PATCHBAY_COSMOS_KEY, or check the identity"
        )
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= REFUSED:
        return _of_status(error, status, host, place, purpose, key=key)
    if any(isinstance(one, socket.gaierror) for one in chain):
        return StoreFailed(f"{host} cannot be resolved; check the account's name in the setting, and the network's DNS")
    if names & _TOO_LATE:
        return StoreFailed(f"{host} did not answer in time")
    if names & _UNREACHED:
        return StoreFailed(f"{host} cannot be reached ({innermost})")
    if purpose is Purpose.GO_ON and isinstance(error, AssertionError | ValueError):  # the SDK has sent nothing
        return _not_ours()
    return odd_answer(host, innermost)


def odd_answer(host: str, detail: str) -> StoreFailed:
    """The error for an answer without the shape that was asked for; `detail` names what is wrong, without its words."""
    return StoreFailed(
        f"{host} answered with something that Cosmos DB does not send ({detail}); check what stands between, such as a "
        "proxy"
    )


def _not_ours() -> BadCursor:
    return BadCursor("the position did not come from this store")


def _of_status(error: BaseException, status: int, host: str, place: str, purpose: Purpose, *, key: bool) -> VoiceError:
    substatus = getattr(error, "sub_status", None)
    match status:
        case 404 if purpose is Purpose.OPEN:
            return StoreMisconfigured(
                f"{place} does not exist; make it (docs/cosmos.md), or add ?create=1 to the setting"
            )
        case 404 if substatus == SESSION_NOT_AVAILABLE:
            return StoreFailed(f"{host} has not caught up with its own writes yet (404/{substatus})")
        case 404 if substatus == OWNER_NOT_FOUND:
            return StoreFailed(f"{place} does not exist (any more); docs/cosmos.md says how to make it")
        case 404 if purpose is not Purpose.WRITE:
            return Missing("there is no such document")
        case 404 | 409 | 412:
            return Conflict("the document has changed, is gone, or exists already")
        case 400 if purpose is Purpose.WRITE and not substatus:
            return BadDocument("Cosmos DB does not take a document (400)")
        case 400 if purpose is Purpose.GO_ON:
            return _not_ours()
        case 413:
            return BadDocument("a document, or what is written together, is too large for Cosmos DB")
        case 429:
            return StoreBusy(f"{host} takes no more requests for now", retry_after_ms=retry_after_ms(error))
        case 401 | 403 if not (status == 403 and substatus in MOVING):
            return _refused(status, substatus, host, key=key)
    detail = f"{status}/{substatus}" if substatus else str(status)
    return StoreFailed(f"{host} answers {detail}")


def _refused(status: int, substatus: int | None, host: str, *, key: bool) -> StoreMisconfigured:
    detail = f"{status}/{substatus}" if substatus else str(status)
    if key:
        return StoreMisconfigured(
            f"{host} refuses the key ({detail}); set PATCHBAY_COSMOS_KEY to a read-write key of this account"
        )
    return StoreMisconfigured(
        f"{host} refuses this identity ({detail}); give it the role Cosmos DB Built-in Data Contributor "
        "(docs/cosmos.md), or set PATCHBAY_COSMOS_KEY"
    )


def retry_after_ms(error: BaseException) -> int:
    """How long the service asks to wait, in ms; a second if it does not say, a minute at most."""
    headers = getattr(error, "headers", None)
    asked = headers.get(RETRY_AFTER) if isinstance(headers, Mapping) else None
    try:
        return max(1, min(int(float(asked or "")), BUSY_MAX_MS))
    except (ValueError, OverflowError):
        return BUSY_MS


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from, the outermost first."""
    seen: set[int] = set()
    one: object = error
    while isinstance(one, BaseException) and id(one) not in seen:
        seen.add(id(one))
        yield one
        # azure-core and aiohttp keep the error below in attributes of their own.
        below = (getattr(one, "inner_exception", None), getattr(one, "os_error", None), one.__cause__)
        one = next((found for found in below if isinstance(found, BaseException)), None)
