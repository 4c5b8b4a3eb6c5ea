"""The telephone protocols of one process: those that the settings turn on, put together, opened and closed.

A carrier without a table in the settings costs nothing: its modules are loaded only if there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.entrance import Entrance
from gateway.calls.admission import Admission
from gateway.config.settings import Settings
from gateway.http.telephony import CarrierRoutes
from gateway.net.media_routes import MediaRoute
from sessions.ports import Clock

if TYPE_CHECKING:
    from gateway.callers.acs.carrier import AcsCarrier
    from gateway.callers.asterisk.carrier import AsteriskCarrier
    from gateway.callers.audiosocket.listener import AudioSocketListener
    from gateway.callers.phone.calls import PhoneCalls
    from gateway.callers.twilio.carrier import TwilioCarrier


@dataclass(frozen=True, slots=True)
class TelephonyParts:
    """What telephone calls need of the rest of the gateway."""

    settings: Settings
    admission: Admission
    entrance: Entrance
    tickets: CarrierTickets
    clock: Clock
    draining: Callable[[], bool]


class Telephony:
    """All telephone protocols that the settings turn on."""

    def __init__(self, parts: TelephonyParts) -> None:
        """Nothing is opened yet. Raises VoiceError where a table asks for what is not installed."""
        self._parts = parts
        self._asterisk: AsteriskCarrier | None = None
        self._twilio: list[TwilioCarrier] = []
        self._acs: AcsCarrier | None = None
        self._audiosocket: AudioSocketListener | None = None
        self._on = bool(parts.settings.carriers.configured())
        if self._on:
            self._make()

    @property
    def http(self) -> Sequence[CarrierRoutes]:
        """The carriers' HTTP routes."""
        asterisk = [] if self._asterisk is None else [self._asterisk.routes]
        acs = [] if self._acs is None else [self._acs]
        return [*asterisk, *self._twilio, *acs]

    def media_routes(self) -> list[MediaRoute[Any]]:
        """The paths at which carriers open media sockets."""
        routes: list[MediaRoute[Any]] = [carrier.media_route() for carrier in self._twilio]
        if self._asterisk is not None:
            routes += self._asterisk.media_routes()
        if self._acs is not None:
            routes.append(self._acs.media_route())
        return routes

    def events(self) -> Iterator[tuple[tuple[str, str], int]]:
        """How often each event of a carrier was counted, by carrier and event."""
        for carrier in self._twilio:
            yield from carrier.counts.items()
        if self._acs is not None:
            yield from self._acs.counts.items()
        counted = {} if self._asterisk is None else self._asterisk.counts()
        if self._audiosocket is not None:
            counted |= {f"audiosocket_{reason}": count for reason, count in self._audiosocket.counts.items()}
        yield from ((("asterisk", event), count) for event, count in counted.items())

    @property
    def tcp_sockets(self) -> int:
        """How many sockets of callers are open that are no WebSockets."""
        return 0 if self._audiosocket is None else len(self._audiosocket)

    async def open(self) -> None:
        """Load what the first call needs, and listen for AudioSocket where the settings say so. Raises OSError."""
        if not self._on:
            return
        await asyncio.to_thread(import_module, "gateway.calls.converted_sound")
        if self._acs is not None:
            await self._acs.open()
        if self._audiosocket is not None:
            await self._audiosocket.start()

    def drain(self) -> None:
        """Take no new calls; those that have begun go on."""
        if self._audiosocket is not None:
            self._audiosocket.drain()
        if self._asterisk is not None:
            self._asterisk.registered.close()

    async def close(self) -> None:
        """Close everything, once the calls have ended."""
        self.drain()
        if self._audiosocket is not None:
            await self._audiosocket.close()
        if self._asterisk is not None:
            await self._asterisk.close()
        for carrier in self._twilio:
            await carrier.close()
        if self._acs is not None:
            await self._acs.close()

    def _make(self) -> None:
        from gateway.callers.phone.calls import PhoneCalls

        parts, settings = self._parts, self._parts.settings
        calls = PhoneCalls.of(settings, parts.admission, parts.clock)
        tables = settings.carriers
        if tables.asterisk is not None:
            self._make_asterisk(calls)
        if tables.twilio is not None or tables.signalwire is not None:
            from gateway.callers.twilio.carrier import twilio_carriers

            self._twilio = twilio_carriers(
                tables,
                public_url=settings.public_url,
                calls=calls,
                tickets=parts.tickets.media,
                keys=parts.tickets.callbacks,
                let_in=parts.entrance.let_carrier_in,
                draining=parts.draining,
            )
        if tables.acs is not None:
            from gateway.callers.acs.carrier import AcsParts, acs_carrier

            self._acs = acs_carrier(
                tables,
                AcsParts(calls, parts.entrance, parts.tickets, parts.clock, settings.public_url or "", parts.draining),
            )

    def _make_asterisk(self, calls: PhoneCalls) -> None:
        from gateway.callers.asterisk.carrier import AsteriskCarrier, AsteriskParts

        parts, settings = self._parts, self._parts.settings
        assert settings.carriers.asterisk is not None
        self._asterisk = AsteriskCarrier(
            settings.carriers.asterisk, AsteriskParts(calls, parts.entrance, parts.draining)
        )
        if settings.audiosocket_port is not None:
            from gateway.callers.audiosocket.listener import AudioSocketListener
            from gateway.net.tcp import ListenAt

            at = ListenAt(
                settings.audiosocket_host,
                settings.audiosocket_port,
                settings.audiosocket_peers,
                "audiosocket_host, audiosocket_port",
            )
            self._audiosocket = AudioSocketListener(self._asterisk.registered, calls, parts.draining, at)
