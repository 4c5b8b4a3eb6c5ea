"""The HTTP routes of Azure Communication Services: Event Grid's events, and the callbacks of each call.

Who sends a request is checked before its body is read. Answers other than 2xx make the sender try again later, except
400, so that is the answer to what will never be understood.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.http import EntranceRefused
from gateway.auth.requests import Refusal
from gateway.auth.ticket_errors import TicketRefused
from gateway.callers.acs.calls import CALLBACKS_PATH, PROTOCOL, AcsCalls
from gateway.callers.acs.events import Validation, read_callbacks, read_events
from gateway.callers.acs.ringing import Ringing
from gateway.callers.acs.showing import SECRET_HEADER, EventEntrance, TokenEntrance
from gateway.http.telephony import CarrierRoute
from sessions.errors import WireError
from sessions.ports import Clock

log = logging.getLogger(__name__)

EVENTS_PATH = "/telephony/acs/events"
DRAINING = Refusal(503, "draining", "This server is about to stop; try again.", retry_after_s=1)
NO_KEY = Refusal(403, "key_not_valid", "The key in the address is not valid, or its call is over.")


@dataclass(frozen=True, slots=True)
class AcsRoutes:
    """The routes of one resource."""

    calls: AcsCalls
    ringing: Ringing
    events: EventEntrance
    tokens: TokenEntrance
    keys: CallbackKeys
    clock: Clock
    draining: Callable[[], bool]

    def http_routes(self) -> Sequence[CarrierRoute]:
        """All routes. Event Grid may show its secret in a header, or in the address where it can send no header."""
        return (
            CarrierRoute(EVENTS_PATH, self._take_events, before=self._check_events),
            CarrierRoute(f"{EVENTS_PATH}/{{secret}}", self._take_events, before=self._check_events),
            CarrierRoute(f"{CALLBACKS_PATH}{{key}}", self._take_callbacks, before=self._check_callbacks),
        )

    async def _check_events(self, request: Request) -> None:
        secrets = [*request.headers.getlist(SECRET_HEADER), *request.path_params.values()]
        _raise(await self.events.refuse(secrets, request.headers.get("authorization")))

    async def _take_events(self, request: Request, body: bytes) -> Response:
        try:
            read = read_events(body)
        except WireError as error:
            return _malformed(error.message)
        for event in read.found:
            if isinstance(event, Validation):
                return JSONResponse({"validationResponse": event.code})
            if self.draining():
                raise EntranceRefused(DRAINING)
            self.ringing.ring(event)
        if read.malformed:
            log.warning("events of a carrier are malformed", extra={"protocol": PROTOCOL, "events": read.malformed})
            if not read.found:
                return _malformed("An event lacks a field, or has one of the wrong type or length.")
        return Response(status_code=200)

    async def _check_callbacks(self, request: Request) -> None:
        _raise(await self.tokens.refuse(request.headers.get("authorization")))
        self._call_id(request)

    async def _take_callbacks(self, request: Request, body: bytes) -> Response:
        call_id = self._call_id(request)
        try:
            read = read_callbacks(body)
        except WireError as error:
            return _malformed(error.message)
        for callback in read.found:
            if callback.correlation_id in (None, call_id):
                self.calls.told(callback, call_id)
        return Response(status_code=200)

    def _call_id(self, request: Request) -> str:
        """The call of the key in the address. Raises EntranceRefused."""
        key = request.path_params["key"]
        try:
            found = self.keys.read(key, carrier=PROTOCOL, tenant=self.calls.tenant, now_s=self.clock.wall_s())
        except TicketRefused:
            raise EntranceRefused(NO_KEY) from None
        return found.call_id


def _raise(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise EntranceRefused(refusal)


def _malformed(message: str) -> Response:
    return Response(Refusal(400, "invalid_event", message).body(), 400, media_type="application/json")
