"""`POST /telephony/asterisk/calls`: a dialplan announces a call and gets the UUID for its media socket, as plain text.

Asterisk's `CURL()` gives the dialplan the body alone, so an error must have a status that the dialplan names in
`CURLOPT(failurecodes)`: 503 when this server is full or stops, 429 when the tenant has its calls, 404 where no agent
answers the number, 400 for a bad form, 401 and 403 for a key.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.auth.entrance import Entrance
from gateway.auth.http import EntranceRefused, RequireCaller
from gateway.auth.requests import Refusal
from gateway.callers.asterisk.registered import RegisteredCalls
from gateway.callers.asterisk.registration import read_registration
from gateway.http.telephony import CarrierRoute
from sessions.errors import WireError

PATH = "/telephony/asterisk/calls"
OTHER_TENANT = Refusal(403, "wrong_tenant", "The API key's tenant is not the one of `carriers.asterisk`.")


class AsteriskRoutes:
    """The HTTP routes for Asterisk."""

    def __init__(self, registered: RegisteredCalls, entrance: Entrance, tenant: str) -> None:
        """`tenant` is that of `carriers.asterisk`: only its API keys may announce calls."""
        self._registered = registered
        self._require = RequireCaller(entrance)
        self._tenant = tenant

    def http_routes(self) -> Sequence[CarrierRoute]:
        """All routes."""
        return [CarrierRoute(PATH, self._register, before=self._check)]

    async def _check(self, request: Request) -> None:
        """Raises EntranceRefused for a request without a good key, before its body is read."""
        try:
            caller = await self._require(request)
        except EntranceRefused as refused:
            self._registered.count_refused(refused.refusal.code)
            raise
        if caller.tenant != self._tenant:
            self._registered.count_refused(OTHER_TENANT.code)
            raise EntranceRefused(OTHER_TENANT)

    async def _register(self, request: Request, body: bytes) -> Response:
        """Raises WireError for a bad form, and EntranceRefused where the call is not let in."""
        try:
            registration = read_registration(body)
        except WireError:
            self._registered.count_refused("bad_form")
            raise
        found = await self._registered.register(self._tenant, registration)
        if isinstance(found, Refusal):
            raise EntranceRefused(found)
        return PlainTextResponse(str(found.call_id))
