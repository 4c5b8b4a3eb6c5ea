"""Every error of the SDK, and what becomes of it: a table. The exceptions are the SDK's own."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosClientTimeoutError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from sessions.stores.contract import (
    BadCursor,
    BadDocument,
    Conflict,
    Missing,
    StoreBusy,
    StoreFailed,
    StoreMisconfigured,
)
from sessions.stores.cosmos_errors import BUSY_MS, Purpose, translated

SECRET = "secret words of a caller"


def http(status: int, kind: type[CosmosHttpResponseError] = CosmosHttpResponseError, **headers: str) -> Exception:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = SimpleNamespace(status_code=status, headers=named, reason="", text=lambda: SECRET)
    return kind(status_code=status, message=SECRET, response=answer)


def batch(status: int, **headers: str) -> Exception:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CosmosBatchOperationError(0, named, status, SECRET, [])


def below(kind: type[Exception], cause: BaseException) -> Exception:
    return kind(SECRET, error=cause)  # type: ignore[call-arg]


WRITE, READ, GO_ON = Purpose.WRITE, Purpose.READ, Purpose.GO_ON


@pytest.mark.parametrize(
    ("error", "purpose", "becomes", "says"),
    [
        (http(404, CosmosResourceNotFoundError), READ, Missing, "no such document"),
        (http(404, CosmosResourceNotFoundError), WRITE, Conflict, "gone"),
        (http(404, CosmosResourceNotFoundError, x_ms_substatus="1002"), READ, StoreFailed, "not caught up"),
        (
            http(404, CosmosResourceNotFoundError, x_ms_substatus="1003"),
            READ,
            StoreFailed,
            "db/calls on acc.example does not exist",
        ),
        (
            http(404, CosmosResourceNotFoundError, x_ms_substatus="1003"),
            WRITE,
            StoreFailed,
            "db/calls on acc.example does not exist",
        ),
        (http(404, CosmosResourceNotFoundError), Purpose.OPEN, StoreMisconfigured, "create=1"),
        (http(409, CosmosResourceExistsError), WRITE, Conflict, "exists"),
        (http(412, CosmosAccessConditionFailedError), WRITE, Conflict, "changed"),
        (batch(404), WRITE, Conflict, "gone"),
        (batch(409), WRITE, Conflict, "exists"),
        (batch(412), WRITE, Conflict, "changed"),
        (batch(413), WRITE, BadDocument, "too large"),
        (batch(429, x_ms_retry_after_ms="70"), WRITE, StoreBusy, "no more requests"),
        (batch(449), WRITE, StoreFailed, "449"),
        (http(413), WRITE, BadDocument, "too large"),
        (http(400), WRITE, BadDocument, "does not take"),
        (http(400, x_ms_substatus="1001"), WRITE, StoreFailed, "400/1001"),
        (http(400), READ, StoreFailed, "400"),
        (http(400), GO_ON, BadCursor, "position"),
        (http(401), READ, StoreMisconfigured, "PATCHBAY_COSMOS_KEY"),
        (http(403), WRITE, StoreMisconfigured, "PATCHBAY_COSMOS_KEY"),
        (http(403, x_ms_substatus="3"), WRITE, StoreFailed, "403/3"),
        (http(408), WRITE, StoreFailed, "408"),
        (http(410), READ, StoreFailed, "410"),
        (http(449), WRITE, StoreFailed, "449"),
        (http(500), READ, StoreFailed, "500"),
        (http(503), WRITE, StoreFailed, "503"),
        (CosmosClientTimeoutError(), WRITE, StoreFailed, "did not answer in time"),
        (TimeoutError(), READ, StoreFailed, "did not answer in time"),
        (ServiceResponseTimeoutError(SECRET), READ, StoreFailed, "did not answer in time"),
        (below(ServiceRequestError, ConnectionRefusedError(111, SECRET)), WRITE, StoreFailed, "ConnectionRefusedError"),
        (below(ServiceResponseError, ConnectionResetError(104, SECRET)), WRITE, StoreFailed, "ConnectionResetError"),
        (below(ServiceRequestError, socket.gaierror(-2, SECRET)), READ, StoreFailed, "cannot be resolved"),
        (ClientAuthenticationError(SECRET), READ, StoreFailed, "no Entra token"),
        (DecodeError(SECRET), READ, StoreFailed, "DecodeError"),
        (KeyError(SECRET), READ, StoreFailed, "KeyError"),
        (KeyError(SECRET), READ, StoreFailed, "does not send"),
        (TypeError(SECRET), WRITE, StoreFailed, "does not send"),
        (http(200), READ, StoreFailed, "does not send"),
        (AssertionError(SECRET), GO_ON, BadCursor, "position"),
        (ValueError(SECRET), GO_ON, BadCursor, "position"),
        (ValueError(SECRET), READ, StoreFailed, "does not send"),
        (OSError(5, SECRET), READ, StoreFailed, "cannot be reached (OSError)"),
        (IncompleteReadError(SECRET), READ, StoreFailed, "cannot be reached"),
        (below(ServiceRequestError, ConnectionRefusedError(111, SECRET)), READ, StoreFailed, "cannot be reached"),
    ],
    ids=repr,
)
def test_every_error_becomes_one_of_the_contract_without_its_words(
    error: Exception, purpose: Purpose, becomes: type[Exception], says: str
) -> None:
    found = translated(error, "acc.example", "db/calls on acc.example", purpose, key=True)
    assert type(found) is becomes
    assert says in str(found)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("hint", "wait_ms"),
    [
        ("250", 250),
        ("250.7", 250),
        ("0", 1),
        ("-4", 1),
        (None, BUSY_MS),
        ("soon", BUSY_MS),
        ("inf", BUSY_MS),
        ("9e9", 60_000),
    ],
)
def test_the_wait_of_a_busy_store_is_the_services_within_bounds(hint: str | None, wait_ms: int) -> None:
    headers: dict[str, Any] = {} if hint is None else {"x_ms_retry_after_ms": hint}
    for error in (http(429, **headers), batch(429, **headers)):
        busy = translated(error, "acc", "db/calls", WRITE, key=True)
        assert isinstance(busy, StoreBusy)
        assert busy.retry_after_ms == wait_ms


def test_an_identity_that_is_refused_is_told_which_role_it_needs() -> None:
    refused = translated(http(403, x_ms_substatus="5300"), "acc", "db/calls", READ, key=False)
    assert isinstance(refused, StoreMisconfigured)
    assert "Cosmos DB Built-in Data Contributor" in str(refused)


def test_an_error_that_was_raised_from_itself_is_no_trap() -> None:
    one, two = OSError("one"), OSError("two")
    one.__cause__, two.__cause__ = two, one
    assert "OSError" in str(translated(one, "acc", "db/calls", READ, key=True))
