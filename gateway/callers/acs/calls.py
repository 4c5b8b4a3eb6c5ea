"""The calls of Azure Communication Services in this process, from the event that one rings to its end.

The answer to the action, the event that the call is connected and the media socket come in any order; what each of them
tells is kept with the call, whose name in all of them is the correlation id. A call that this process ends is hung up
by an action, because a closed socket leaves the caller in silence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.requests import Refusal
from gateway.auth.tickets import MediaTicket
from gateway.callers.acs.action_jobs import ActionJobs
from gateway.callers.acs.call import AcsCall
from gateway.callers.acs.events import Callback, IncomingCall
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.receiver import PhoneReceiver
from sessions.bounded import remember
from sessions.ports import Clock

log = logging.getLogger(__name__)

PROTOCOL = "acs"
CALLBACKS_PATH = "/telephony/acs/callbacks/"
MEDIA_PATH = "/telephony/acs/media/"
REDIAL_MS = 5_000
MAX_SEEN = 10_000  # names of calls that are remembered, so that an event that comes twice is answered once

OVER = Refusal(410, "call_over", "The call has ended.")
OTHER_CONNECTION = Refusal(403, "other_call", "The ticket is for another call.")


class AcsCalls:
    """All calls of one resource in this process."""

    def __init__(
        self, phone: PhoneCalls, actions: ActionJobs, keys: CallbackKeys, clock: Clock, *, tenant: str
    ) -> None:
        self.phone = phone
        self.tenant = tenant
        self._actions = actions
        self._keys = keys
        self._clock = clock
        self._calls: dict[str, AcsCall] = {}
        self._seen: dict[str | bytes, None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    # ---- how a call comes

    def add(self, incoming: IncomingCall) -> AcsCall | None:
        """A call that rings; None for one that is known."""
        names = (incoming.correlation_id, sha256(incoming.context.encode("utf-8", "replace")).digest())
        if any(name in self._seen for name in names):
            return None
        for name in names:
            remember(self._seen, name, None, MAX_SEEN)
        call = self._calls[incoming.correlation_id] = AcsCall(incoming)
        return call

    def told(self, callback: Callback, call_id: str) -> None:
        """An event of the call whose correlation id is `call_id` has come."""
        call = self._calls.get(call_id)
        if callback.kind in ("MediaStreamingFailed", "AnswerFailed", "CallDisconnected"):
            log.info(
                "a carrier's event",
                extra={"kind": callback.kind, "code": callback.code, "sub_code": callback.sub_code},
            )
        if call is None:
            return
        if callback.connection_id is not None:
            self.connected(call, callback.connection_id)
        if callback.kind in ("CallDisconnected", "AnswerFailed"):
            call.gone = True
            self.end(call)
        elif callback.kind == "MediaStreamingFailed" and call.receiver is None:
            self.end(call)  # a live call waits for its socket to come back

    def connected(self, call: AcsCall, connection_id: str) -> None:
        """The connection id of a call is known."""
        call.connection_id = call.connection_id or connection_id
        call.named.set()
        if call.ended:
            self._hang_up(call)

    # ---- its media socket

    def is_live(self, ticket: MediaTicket) -> bool:
        """Whether the call of a ticket is live here."""
        call = self._calls.get(ticket.call_id)
        return call is not None and call.live

    async def expect(self, ticket: MediaTicket, connection_id: str | None) -> AcsCall | Refusal:
        """The call whose socket may open now, let in; or, for a ticket that was taken again, the live call.

        A call that another process has answered is begun here, without what its event has told.
        """
        call = self._calls.get(ticket.call_id)
        if call is None:
            if ticket.call_id in self._seen:
                return OVER  # it was answered here, and has ended
            unknown = IncomingCall("", ticket.call_id, None, None, {})
            call = self._calls[ticket.call_id] = AcsCall(unknown)
        if None not in (call.connection_id, connection_id) and call.connection_id != connection_id:
            return OTHER_CONNECTION
        if call.ended:
            return OVER
        if connection_id is not None:
            self.connected(call, connection_id)
        call.settled.set()
        if ticket.again or call.ticket is not None:
            return call
        admitted = await self.phone.admit_to(ticket.tenant, ticket.agent)
        if isinstance(admitted, Refusal):
            self.end(call)
            return admitted
        if call.ended:  # meanwhile
            self.phone.release(admitted)
            return OVER
        call.ticket = admitted
        return call

    def opened(self, call: AcsCall, make: Callable[[ExpectedCall], PhoneReceiver]) -> PhoneReceiver:
        """The first socket of a call that was let in opens now."""
        ticket, call.ticket = call.ticket, None
        assert ticket is not None
        expected = ExpectedCall(ticket, PROTOCOL, lambda reason: self._over(call), redial_ms=REDIAL_MS)
        call.receiver = make(expected)
        return call.receiver

    # ---- its end

    def end(self, call: AcsCall, reason: str = "caller_hung_up") -> None:
        """End a call, whether it has begun or not."""
        if call.receiver is not None:
            call.receiver.give_up(reason)
        else:
            self._over(call)

    def free(self, call: AcsCall) -> None:
        """Give the place of a call back that has not begun."""
        ticket, call.ticket = call.ticket, None
        if ticket is not None:
            self.phone.release(ticket)

    def forget(self, call: AcsCall) -> None:
        """Forget a call that has ended, unless it is to be hung up once its connection is known."""
        done = call.hung_up or call.gone or not call.watched
        if call.ended and done and self._calls.get(call.id) is call:
            del self._calls[call.id]

    def _over(self, call: AcsCall) -> None:
        """The call has ended, or will not begin."""
        if call.ended:
            return
        call.ended = True
        call.receiver = None  # so that no reference cycle is left
        self.free(call)
        call.settled.set()
        self._keys.ended(PROTOCOL, self.tenant, call.id, self._clock.wall_s())
        self._hang_up(call)
        self.forget(call)

    def _hang_up(self, call: AcsCall) -> None:
        """Let the service end the call, unless it has said that it is over, or nobody knows its connection yet."""
        if not call.gone and not call.hung_up and call.connection_id is not None:
            call.hung_up = True
            self._actions.hang_up(call.connection_id)
