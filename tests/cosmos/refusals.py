"""A request that is refused, as the service says it."""

from __future__ import annotations


class Refusal(Exception):
    """An answer of status 400 and above."""

    def __init__(self, status: int, code: str, message: str, substatus: int | None = None, charge: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.substatus = substatus
        self.charge = charge


def bad(message: str, substatus: int | None = None) -> Refusal:
    """A request that makes no sense: 400."""
    return Refusal(400, "BadRequest", message, substatus)


OWNER_NOT_FOUND = 1003  # the container of an item
READ_SESSION_NOT_AVAILABLE = 1002


def missing(charge: float = 1.0, substatus: int | None = None) -> Refusal:
    """Something that is not there: 404."""
    message = "Entity with the specified id does not exist in the system."
    return Refusal(404, "NotFound", message, substatus, charge)


def not_caught_up() -> Refusal:
    """A session token of writes that no replica has: 404 with a substatus."""
    message = "The read session is not available for the input session token."
    return Refusal(404, "NotFound", message, READ_SESSION_NOT_AVAILABLE)


def exists(charge: float) -> Refusal:
    """Something that is there already: 409."""
    return Refusal(409, "Conflict", "Entity with the specified id already exists in the system.", charge=charge)


def stale(charge: float) -> Refusal:
    """A condition that does not hold: 412."""
    message = "One of the specified pre-condition is not met."
    return Refusal(412, "PreconditionFailed", message, charge=charge)


def too_large(message: str) -> Refusal:
    """More bytes than the service takes: 413."""
    return Refusal(413, "RequestEntityTooLarge", message)
