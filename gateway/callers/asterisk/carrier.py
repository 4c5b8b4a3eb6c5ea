"""Puts together what calls of one Asterisk need, as the settings say; its AudioSocket port is apart from that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.basic import BasicLogin
from gateway.auth.entrance import Entrance
from gateway.callers.asterisk.registered import RegisteredCall, RegisteredCalls
from gateway.callers.asterisk.routes import AsteriskRoutes
from gateway.callers.asterisk.ws_dial import MediaDialler
from gateway.callers.asterisk.ws_open import AsteriskSockets
from gateway.callers.phone.calls import PhoneCalls
from gateway.config.carriers import Asterisk
from gateway.net.media_routes import MediaRoute


@dataclass(frozen=True, slots=True)
class AsteriskParts:
    """What an exchange's calls need of the rest of the gateway; `draining` says whether no new calls are taken."""

    calls: PhoneCalls
    entrance: Entrance
    draining: Callable[[], bool]


class AsteriskCarrier:
    """One exchange: its announced calls, its HTTP route, and the sockets of its WebSocket channel, where they are on.

    `registered` is also what an AudioSocket listener takes calls from.
    """

    def __init__(self, table: Asterisk, parts: AsteriskParts) -> None:
        self._dialler = None if table.media_url is None else MediaDialler(table.media_url, parts.calls)
        self.registered = RegisteredCalls(parts.calls, parts.draining, dial_media=self._dialler)
        self.routes = AsteriskRoutes(self.registered, parts.entrance, table.tenant)
        self._sockets: AsteriskSockets | None = None
        if table.user is not None and table.password is not None:
            login = BasicLogin(table.user, table.password.get_secret_value())
            self._sockets = AsteriskSockets(
                login, table.tenant, parts.entrance.let_carrier_in, self.registered.take, parts.calls
            )

    def media_routes(self) -> list[MediaRoute[RegisteredCall]]:
        """The path that Asterisk dials, with limits of its own; none where the settings have no login for it."""
        sockets = self._sockets
        return [] if sockets is None else [MediaRoute.of(sockets, sockets.limits)]

    def counts(self) -> dict[str, int]:
        """How often each thing has happened, by names that begin with `registered_`, `dialled_` or `media_`."""
        parts = {"registered": self.registered, "dialled": self._dialler, "media": self._sockets}
        return {
            f"{name}_{what}": times
            for name, part in parts.items()
            if part is not None
            for what, times in part.counts.items()
        }

    async def close(self) -> None:
        """Give up the calls whose media socket has not come."""
        self.registered.close()
        if self._dialler is not None:
            await self._dialler.close()
