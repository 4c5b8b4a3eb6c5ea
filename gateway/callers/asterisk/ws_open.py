"""The media sockets that Asterisk dials, one for each call of its WebSocket channel.

Asterisk shows its user and password, and names a call that its dialplan has announced:
`Dial(WebSocket/name/v(call=ID))`.
Source: docs.asterisk.org, "WebSocket channel driver" and `websocket_client.conf`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from gateway.auth.basic import BasicLogin
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.callers.asterisk.registered import RegisteredCall
from gateway.callers.asterisk.ws_codec import ChanWebsocketCodec
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.net.media_routes import Accepted
from gateway.net.sockets import SocketLimits

PROTOCOL = "asterisk"
SUBPROTOCOL = "media"
# Asterisk sends frames of 20 ms and short texts. Its releases before 2026 hang up on a ping.
LIMITS = SocketLimits(max_message_bytes=32 * 1024, max_unsent_bytes=1024 * 1024, ping_idle_s=None)
NO_CALL = Refusal(404, "call_not_found", "No call waits for this media socket; `?call=` names one.")


class AsteriskSockets:
    """Takes the media sockets that Asterisk dials.

    `counts` holds how often each thing has happened: `opened`, `closed` before it had opened, and `refused_` with a
    refusal's code.
    """

    protocol = PROTOCOL
    path = "/telephony/asterisk/media"
    subprotocols = (SUBPROTOCOL,)
    limits = LIMITS

    def __init__(
        self,
        login: BasicLogin,
        tenant: str,
        let_in: Callable[[UpgradeRequest], UpgradeRequest | Refusal],
        take: Callable[[UUID], RegisteredCall | None],
        calls: PhoneCalls,
    ) -> None:
        """`tenant` is whose calls `login` carries. `let_in` checks the line, the host and the origin.

        `take` gives the call that waits under an id, once.
        """
        self.counts: Counter[str] = Counter()
        self._login = login
        self._tenant = tenant
        self._let_in = let_in
        self._take = take
        self._calls = calls

    async def admit(self, request: UpgradeRequest) -> RegisteredCall | Refusal:
        """Decide on a socket: where it comes from, its login, then its call. Nothing is opened here."""
        found = self._find(request)
        if isinstance(found, Refusal):
            self.counts[f"refused_{found.code}"] += 1
        return found

    def accept(self, registered: RegisteredCall, request: UpgradeRequest) -> Accepted:
        """The receiver of a socket that opens now; its call begins with the first message on it."""
        self.counts["opened"] += 1
        receiver = receiver_of(registered, self._calls)
        return Accepted(receiver, receiver.fault)

    def release(self, registered: RegisteredCall) -> None:
        """No socket of this call will come."""
        self.counts["closed"] += 1
        self._calls.release(registered.ticket)

    def _find(self, request: UpgradeRequest) -> RegisteredCall | Refusal:
        checked = self._let_in(request)
        if isinstance(checked, Refusal):
            return checked
        refusal = self._login.refuse(checked.headers.all("authorization"))
        if refusal is not None:
            return refusal
        named = checked.query.all("call")
        try:
            registered = self._take(UUID(named[0])) if len(named) == 1 else None
        except ValueError:
            registered = None
        if registered is None:
            return NO_CALL
        if registered.ticket.caller.tenant != self._tenant:
            self._calls.release(registered.ticket)
            return NO_CALL
        return registered


def receiver_of(registered: RegisteredCall, calls: PhoneCalls) -> PhoneReceiver:
    """The receiver of a registered call's media socket, whoever dials it."""
    return PhoneReceiver(ExpectedCall(registered.ticket, PROTOCOL), ChanWebsocketCodec(registered.facts), calls)
