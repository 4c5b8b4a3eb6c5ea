"""Puts the parts of one resource of Azure Communication Services together, as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.entrance import Entrance
from gateway.callers.acs.action_jobs import ActionJobs
from gateway.callers.acs.actions import Actions
from gateway.callers.acs.call import AcsCall
from gateway.callers.acs.calls import PROTOCOL, AcsCalls
from gateway.callers.acs.key_set import Fetch
from gateway.callers.acs.media import AcsMedia
from gateway.callers.acs.ringing import Ringing
from gateway.callers.acs.routes import AcsRoutes
from gateway.callers.acs.sdk import SdkActions, fetch_keys, missing_package
from gateway.callers.acs.showing import EventEntrance, TokenEntrance
from gateway.callers.acs.tokens import TokenChecker, make_checker
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.phone.counts import CarrierCounts
from gateway.config.carriers import Acs, Carriers
from gateway.http.telephony import CarrierRoute
from gateway.net.media_routes import MediaRoute
from gateway.net.sockets import SocketLimits
from sessions.errors import VoiceError
from sessions.ports import Clock

LIMITS = SocketLimits(max_message_bytes=64 * 1024)  # 20 ms of sound are 1.4 KiB
ENTRA = "https://login.microsoftonline.com"


class AcsUnusable(VoiceError):
    """The settings ask for what cannot be: the message says what is missing."""


@dataclass(frozen=True, slots=True)
class AcsParts:
    """What the calls of a resource need of the rest of the gateway."""

    phone: PhoneCalls
    entrance: Entrance
    tickets: CarrierTickets
    clock: Clock
    public_url: str
    draining: Callable[[], bool]


class AcsCarrier:
    """One resource: its media sockets, its HTTP routes, and what is to be closed at the end."""

    def __init__(self, table: Acs, parts: AcsParts, actions: Actions | None = None, fetch: Fetch = fetch_keys) -> None:
        """`actions` and `fetch` are replaced in tests. Raises AcsUnusable."""
        missing = missing_package() if actions is None else None
        if missing is not None:
            raise AcsUnusable(f"carriers.acs needs the package {missing}: pip install 'patchbay[acs]'")
        if table.event_secret is None and table.event_tenant is None:
            raise AcsUnusable("carriers.acs needs event_secret, or event_tenant and event_audience, for Event Grid")
        self.counts = CarrierCounts(PROTOCOL)
        self._checkers = [_service_checker(table, fetch, parts.clock)]
        if table.event_tenant is not None:
            self._checkers.append(_entra_checker(table, fetch, parts.clock))
        self._tokens = TokenEntrance(self._checkers[0], self.counts)
        self._events = EventEntrance(
            None if table.event_secret is None else table.event_secret.get_secret_value(),
            TokenEntrance(self._checkers[1], self.counts) if len(self._checkers) > 1 else None,
            self.counts,
        )
        key = table.access_key
        self._actions = ActionJobs(
            actions or SdkActions(table.endpoint, None if key is None else key.get_secret_value(), parts.clock),
            self.counts,
        )
        tickets, keys = parts.tickets.media, parts.tickets.callbacks
        self.calls = AcsCalls(parts.phone, self._actions, keys, parts.clock, tenant=table.tenant)
        self._ringing = Ringing(self.calls, self._actions, tickets, keys, parts.clock, parts.public_url)
        self.opener = AcsMedia(self.calls, parts.entrance, self._tokens, tickets, parts.clock, marks=table.marks)
        self._routes = AcsRoutes(
            self.calls, self._ringing, self._events, self._tokens, keys, parts.clock, parts.draining
        )

    def media_route(self) -> MediaRoute[AcsCall]:
        """Where the service opens media sockets."""
        return MediaRoute.of(self.opener, LIMITS)

    def http_routes(self) -> Sequence[CarrierRoute]:
        """Where Event Grid and the service tell of calls."""
        return self._routes.http_routes()

    async def open(self) -> None:
        """Load the SDK, and fetch the keys that check tokens, so that the first call waits for neither."""
        await self._actions.open()
        for checker in self._checkers:
            await checker.open()

    async def close(self) -> None:
        """Wait for the actions that end calls, within a bound; then close everything."""
        await self._ringing.close()
        await self._actions.close()
        for checker in self._checkers:
            await checker.close()


def _service_checker(table: Acs, fetch: Fetch, clock: Clock) -> TokenChecker:
    return make_checker(
        fetch,
        clock,
        issuer=table.issuer,
        audience=table.resource_id,
        openid_url=table.openid_url,
        key_set_url=table.key_set_url,
    )


def _entra_checker(table: Acs, fetch: Fetch, clock: Clock) -> TokenChecker:
    """For the tokens that Entra ID makes for Event Grid, in its first or its second version."""
    authority = f"{ENTRA}/{table.event_tenant}/v2.0"
    return make_checker(
        fetch,
        clock,
        issuer=authority,
        audience=table.event_audience or "",
        openid_url=f"{authority}/.well-known/openid-configuration",
        other_issuers=(f"https://sts.windows.net/{table.event_tenant}/",),
    )


def acs_carrier(carriers: Carriers, parts: AcsParts) -> AcsCarrier | None:
    """The resource that the settings name; None where they name none. Raises AcsUnusable."""
    return None if carriers.acs is None else AcsCarrier(carriers.acs, parts)
