"""The telephone calls of Twilio and SignalWire, put together: the media routes and HTTP routes of each account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.requests import Refusal, UpgradeRequest, read_scope
from gateway.auth.tickets import MediaTickets
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.phone.counts import CarrierCounts
from gateway.callers.twilio.account import Account, signalwire_account, twilio_account
from gateway.callers.twilio.addresses import Addresses
from gateway.callers.twilio.expected import ExpectedCalls
from gateway.callers.twilio.open import LIMITS, AdmittedStream, TwilioOpener
from gateway.callers.twilio.parts import TwilioParts
from gateway.callers.twilio.rest import RestHangUp
from gateway.callers.twilio.streams import HangUp, Streams
from gateway.callers.twilio.webhook import NOT_READABLE, Webhooks
from gateway.config.carriers import Carriers
from gateway.http.telephony import CarrierRoute
from gateway.net.media_routes import MediaRoute

LetIn: TypeAlias = Callable[[UpgradeRequest], UpgradeRequest | Refusal]


class TwilioCarrier:
    """Everything of one account at Twilio, or of one project at SignalWire."""

    def __init__(
        self,
        account: Account,
        *,
        public_url: str,
        calls: PhoneCalls,
        tickets: MediaTickets,
        keys: CallbackKeys,
        let_in: LetIn,
        draining: Callable[[], bool],
        hang_up: HangUp | None = None,
    ) -> None:
        """`hang_up` stands in for the carrier's own API."""
        self.counts = CarrierCounts(account.name)
        self._rest = RestHangUp(account, self.counts) if account.calls_url is not None else None
        self._parts = TwilioParts(
            account=account,
            addresses=Addresses(public_url, account.name),
            calls=calls,
            tickets=tickets,
            keys=keys,
            expected=ExpectedCalls(calls.clock, calls.release, self._will_not_come),
            streams=Streams(calls.clock, self.counts, hang_up or self._rest),
            counts=self.counts,
            let_in=let_in,
            draining=draining,
        )
        self._webhooks = Webhooks(self._parts)
        self.opener = TwilioOpener(self._parts)

    def media_route(self) -> MediaRoute[AdmittedStream]:
        """Where the carrier opens media sockets."""
        return MediaRoute.of(self.opener, LIMITS)

    def http_routes(self) -> Sequence[CarrierRoute]:
        """Where the carrier tells of new calls, and of statuses."""
        addresses = self._parts.addresses
        return (
            CarrierRoute(addresses.voice_path, self._voice),
            CarrierRoute(addresses.status_path, self._status),
            CarrierRoute(f"{addresses.status_path}/{{key}}", self._status),
        )

    async def close(self) -> None:
        """Give back the places of calls that have not come, and hang up nothing more."""
        self._parts.expected.close()
        await self._parts.streams.close()
        if self._rest is not None:
            await self._rest.close()

    def _will_not_come(self, call_id: str) -> None:
        self._parts.key_ends(call_id)

    async def _voice(self, request: Request, body: bytes) -> Response:
        read = _read(request)
        answer = read if isinstance(read, Refusal) else await self._webhooks.voice(read, body)
        if isinstance(answer, Refusal):
            return _refusal(answer)
        return Response(answer, media_type="text/xml; charset=utf-8")

    async def _status(self, request: Request, body: bytes) -> Response:
        read = _read(request)
        key = request.path_params.get("key")
        refusal = read if isinstance(read, Refusal) else self._webhooks.status(read, body, key)
        return Response(status_code=204) if refusal is None else _refusal(refusal)


def twilio_carriers(
    carriers: Carriers,
    *,
    public_url: str | None,
    calls: PhoneCalls,
    tickets: MediaTickets,
    keys: CallbackKeys,
    let_in: LetIn,
    draining: Callable[[], bool],
) -> list[TwilioCarrier]:
    """The accounts that the settings name, which need `public_url`; none where they name none."""
    accounts = []
    if carriers.twilio is not None:
        accounts.append(twilio_account(carriers.twilio))
    if carriers.signalwire is not None:
        accounts.append(signalwire_account(carriers.signalwire))
    if public_url is None:
        return []
    return [
        TwilioCarrier(
            account,
            public_url=public_url,
            calls=calls,
            tickets=tickets,
            keys=keys,
            let_in=let_in,
            draining=draining,
        )
        for account in accounts
    ]


def _read(request: Request) -> UpgradeRequest | Refusal:
    try:
        return read_scope(request.scope)
    except ValueError:
        return NOT_READABLE


def _refusal(refusal: Refusal) -> Response:
    return Response(refusal.body(), refusal.status, dict(refusal.headers()))
