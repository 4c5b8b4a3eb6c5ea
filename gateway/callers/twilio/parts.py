"""What the webhooks and the media sockets of one account share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.tickets import MediaTickets
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.phone.counts import CarrierCounts
from gateway.callers.twilio.account import Account
from gateway.callers.twilio.addresses import Addresses
from gateway.callers.twilio.expected import ExpectedCalls
from gateway.callers.twilio.streams import Streams


@dataclass(frozen=True, slots=True)
class TwilioParts:
    """The parts of one account's telephone calls.

    `let_in` checks the line, the host and the origin of a handshake. `draining` says whether no new calls are taken.
    """

    account: Account
    addresses: Addresses
    calls: PhoneCalls
    tickets: MediaTickets
    keys: CallbackKeys
    expected: ExpectedCalls
    streams: Streams
    counts: CarrierCounts
    let_in: Callable[[UpgradeRequest], UpgradeRequest | Refusal]
    draining: Callable[[], bool]

    @property
    def now_s(self) -> float:
        """Unix seconds."""
        return self.calls.clock.wall_s()

    def key_ends(self, call_id: str) -> None:
        """This call is over, or will not come: callbacks with its key are taken for a while more."""
        self.keys.ended(self.account.name, self.account.tenant, call_id, self.now_s)

    def refused(self, refusal: Refusal) -> Refusal:
        """Count a refusal."""
        self.counts.note(refusal.code)
        return refusal
