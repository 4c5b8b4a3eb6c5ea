"""What Azure Communication Services tells over HTTP: Event Grid's events, and the callbacks of calls. Pure.

Both come as a JSON array, in Event Grid's schema (`eventType`) or as CloudEvents (`type`); one alone may come without
the array. Source: learn.microsoft.com, "Azure Communication Services as an Event Grid source", "Webhook event delivery"
and "Call Automation events".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import orjson

from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
INCOMING_CALL = "Microsoft.Communication.IncomingCall"
CALLBACKS = "Microsoft.Communication."
MAX_EVENTS = 1_000
MAX_ID_CHARACTERS = 128
MAX_CODE_CHARACTERS = 512
MAX_CONTEXT_CHARACTERS = 32 * 1024
PHONE = "4:"  # before the number, in the raw id of a telephone


@dataclass(frozen=True, slots=True)
class Validation:
    """Event Grid asks whether its events are wanted: the answer repeats the code."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A call rings. `context` answers it; `correlation_id` is the call's name in everything else."""

    context: str = field(repr=False)
    correlation_id: str
    caller: str | None = field(repr=False)
    called: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)  # what the call's sender has added to it

    def facts(self, connection_id: str | None) -> CallerFacts:
        """What is known of the caller. The call's id is that of its connection, which the service's API uses."""
        metadata = {"correlation_id": self.correlation_id, **self.headers}
        return CallerFacts.of(
            self.caller, self.called, metadata=metadata, carrier_call_id=connection_id or self.correlation_id
        )


@dataclass(frozen=True, slots=True)
class Callback:
    """Something has happened in a call; `kind` is the event's type without what all types begin with.

    `code` and `sub_code` are those of a failure.
    """

    kind: str
    correlation_id: str | None
    connection_id: str | None
    code: int | None = None
    sub_code: int | None = None


GridEvent: TypeAlias = Validation | IncomingCall
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class Events(Generic[Event]):
    """What one request has brought, in order; a malformed event costs itself only."""

    found: Sequence[Event]
    malformed: int


def read_events(body: bytes) -> Events[GridEvent]:
    """Event Grid's events that mean something here. Raises WireError for a body that is not of its kind."""
    return _read(body, _grid_event)


def read_callbacks(body: bytes) -> Events[Callback]:
    """The events of calls. Raises WireError for a body that is not of their kind."""
    return _read(body, _callback)


def _read(body: bytes, read: Callable[[str, dict[str, Any]], Event | None]) -> Events[Event]:
    found: list[Event] = []
    malformed = 0
    for entry in _entries(body):
        match entry:
            case {"eventType": str(kind), "data": dict(fields)} | {"type": str(kind), "data": dict(fields)}:
                try:
                    event = read(kind, fields)
                except WireError:
                    malformed += 1
                    continue
                if event is not None:
                    found.append(event)
            case _:
                malformed += 1
    return Events(found, malformed)


def _entries(body: bytes) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WireError("The body is not JSON.", code="invalid_event") from error
    entries = document if isinstance(document, list) else [document]
    if len(entries) > MAX_EVENTS:
        raise WireError("The body holds too many events.", code="invalid_event")
    return entries


def _grid_event(kind: str, fields: dict[str, Any]) -> GridEvent | None:
    if kind == VALIDATION:
        return Validation(_text(fields, "validationCode", MAX_CODE_CHARACTERS))
    return _incoming(fields) if kind == INCOMING_CALL else None


def _incoming(fields: dict[str, Any]) -> IncomingCall:
    return IncomingCall(
        context=_text(fields, "incomingCallContext", MAX_CONTEXT_CHARACTERS),
        correlation_id=_text(fields, "correlationId", MAX_ID_CHARACTERS),
        caller=_number(fields.get("from")),
        called=_number(fields.get("to")),
        headers=_headers(fields.get("customContext")),
    )


def _callback(kind: str, fields: dict[str, Any]) -> Callback | None:
    if not kind.startswith(CALLBACKS):
        return None
    result = fields.get("resultInformation")
    code, sub_code = (result.get("code"), result.get("subCode")) if isinstance(result, dict) else (None, None)
    return Callback(
        kind.removeprefix(CALLBACKS),
        _short(fields.get("correlationId")),
        _short(fields.get("callConnectionId")),
        code if type(code) is int else None,
        sub_code if type(sub_code) is int else None,
    )


def _number(identifier: object) -> str | None:
    """The telephone number of one end of a call, or its raw id where it is no telephone."""
    match identifier:
        case {"phoneNumber": {"value": str(number)}} if number:
            return number
        case {"rawId": str(raw_id)} if raw_id:
            return raw_id.removeprefix(PHONE)
    return None


def _headers(context: object) -> dict[str, str]:
    """The SIP and VoIP headers of a call, for the caller's facts, which bound and clean them."""
    found: dict[str, str] = {}
    for name in ("sipHeaders", "voipHeaders"):
        group = context.get(name) if isinstance(context, dict) else None
        for key, value in group.items() if isinstance(group, dict) else ():
            if isinstance(value, str):
                found.setdefault(key, value)
    return found


def _text(fields: dict[str, Any], name: str, max_characters: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_characters:
        raise WireError("An event lacks a field, or has one of the wrong type or length.", code="invalid_event")
    return value


def _short(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS else None
