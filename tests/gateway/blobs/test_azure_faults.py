"""What the errors of the SDK mean, at the start and later, and that no message repeats what they hold."""

from __future__ import annotations

import socket
from enum import Enum

import pytest

from gateway.blobs.azure_faults import ContainerExists, NoContainer, PastTheEnd, translated
from gateway.blobs.contract import BlobFailed, BlobMissing
from gateway.config.blob_places import AzurePlace

PLACE = AzurePlace("acme1", "calls", "https://acme1.blob.core.windows.net")


class Code(Enum):
    """As the SDK's own."""

    BUSY = "ServerBusy"


class AzureError(Exception):
    """Named as the SDK's, which is not needed here."""


class ClientAuthenticationError(AzureError):
    """What azure-identity raises."""


class Answered(AzureError):
    """An answer of the service."""

    def __init__(self, status_code: int, error_code: object = None) -> None:
        super().__init__("SECRET words and x-ms-headers")
        self.status_code = status_code
        self.error_code = error_code


@pytest.mark.parametrize(
    ("fault", "at_start", "later", "words"),
    [
        (
            Answered(401, "InvalidAuthenticationInfo"),
            False,
            True,
            "refuses us .401 InvalidAuthenticationInfo.*ROLE|KEY",
        ),
        (Answered(403, "AuthorizationFailure"), False, True, "refuses us .403 AuthorizationFailure"),
        (Answered(400, "InvalidHeaderValue"), False, False, "answered 400 InvalidHeaderValue"),
        (Answered(400, "InvalidBlockList"), False, True, "answered 400 InvalidBlockList"),
        (Answered(409, "BlobImmutableDueToPolicy"), False, True, "409"),
        (Answered(412, "LeaseIdMissing"), False, True, "412"),
        (Answered(413, "RequestBodyTooLarge"), False, False, "413"),
        (Answered(408), True, True, "408"),
        (Answered(429), True, True, "429"),
        (Answered(500, "InternalError"), True, True, "500 InternalError"),
        (Answered(503, Code.BUSY), True, True, "503 ServerBusy"),
        (Answered(503, "SECRET words, no code"), True, True, "answered 503$"),
        (ClientAuthenticationError("SECRET"), False, True, "no Entra token.*PATCHBAY_BLOB_KEY.*Storage Blob Data"),
        (AzureError("SECRET"), True, True, r"does not answer \(AzureError\)"),
        (TimeoutError("SECRET"), True, True, r"does not answer \(TimeoutError\)"),
        (SystemExit("SECRET"), True, True, r"does not answer \(SystemExit"),
    ],
    ids=lambda value: (
        f"{type(value).__name__} {getattr(value, 'status_code', '')}" if isinstance(value, BaseException) else None
    ),
)
def test_an_error_passes_or_stops_the_start(fault: BaseException, at_start: bool, later: bool, words: str) -> None:
    for starting, passing in ((True, at_start), (False, later)):
        for has_key in (True, False):
            found = translated(fault, PLACE, has_key=has_key, at_start=starting)
            assert isinstance(found, BlobFailed)
            assert found.passing is passing
            assert "SECRET" not in str(found)
    with pytest.raises(BlobFailed, match=words):
        raise translated(fault, PLACE, has_key=True)


def test_a_refusal_names_the_key_or_the_role() -> None:
    refusal = Answered(403, "AuthenticationFailed")
    assert "PATCHBAY_BLOB_KEY" in str(translated(refusal, PLACE, has_key=True))
    assert "role Storage Blob Data Contributor" in str(translated(refusal, PLACE, has_key=False))


def test_a_missing_file_and_a_missing_container_are_told_apart() -> None:
    assert isinstance(translated(Answered(404, "BlobNotFound"), PLACE, has_key=True), BlobMissing)
    assert isinstance(translated(Answered(404), PLACE, has_key=True), BlobMissing)
    for status, code in ((404, "ContainerNotFound"), (409, "ContainerBeingDeleted")):
        found = translated(Answered(status, code), PLACE, has_key=True)
        assert isinstance(found, NoContainer)
        assert found.passing
        assert "no container calls" in str(found)


@pytest.mark.parametrize(
    ("number", "at_start", "words"),
    [(socket.EAI_NONAME, False, "check the account"), (socket.EAI_AGAIN, True, "answer")],
)
def test_an_account_that_does_not_resolve_is_a_mistake_and_a_silent_name_server_is_none(
    number: int, at_start: bool, words: str
) -> None:
    error = AzureError("SECRET")
    error.__cause__ = OSError("SECRET")
    error.__cause__.__context__ = socket.gaierror(number, "SECRET")
    found = translated(error, PLACE, has_key=True, at_start=True)
    assert isinstance(found, BlobFailed)
    assert found.passing is at_start
    assert words in str(found)
    later = translated(error, PLACE, has_key=True)
    assert isinstance(later, BlobFailed)
    assert later.passing


def test_what_is_no_fault_has_an_error_of_its_own() -> None:
    assert isinstance(translated(Answered(416, "InvalidRange"), PLACE, has_key=True), PastTheEnd)
    assert isinstance(translated(Answered(409, "ContainerAlreadyExists"), PLACE, has_key=True), ContainerExists)


def test_the_contracts_own_errors_stay_as_they_are() -> None:
    for own in (BlobMissing("x"), BlobFailed("y", passing=False)):
        assert translated(own, PLACE, has_key=True) is own
