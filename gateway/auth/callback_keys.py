"""Keys in the addresses to which carriers send events of a call: good as long as the call lives, and a while after."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.signed_texts import SignedTexts
from gateway.auth.ticket_errors import TicketCounts, TicketElsewhere, TicketExpired, TicketMalformed, TicketRefused
from sessions.errors import Overloaded

AFTER_CALL_S = 600
MAX_LIFE_S = 4 * 3600
MAX_CALLS = 100_000
_LABEL = b"patchbay callback keys, 1"


@dataclass(frozen=True, slots=True)
class CallbackKey:
    """Which call's events a key lets in."""

    carrier: str
    tenant: str
    call_id: str  # the call's id at the carrier


class LiveCallbacks:
    """Remembers for which calls of this process callbacks are taken, and until when."""

    def __init__(self, max_calls: int = MAX_CALLS) -> None:
        self._max_calls = max_calls
        # Until when, in Unix seconds; each in the order in which they end.
        self._live: dict[CallbackKey, float] = {}
        self._ended: dict[CallbackKey, float] = {}

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def began(self, key: CallbackKey, now_s: float) -> None:
        """Take callbacks of this call from now on. Raises Overloaded where there are too many calls."""
        self._forget(now_s)
        if len(self) >= self._max_calls and key not in self._live:
            raise Overloaded("callbacks of too many calls are awaited")
        self._ended.pop(key, None)
        self._live.pop(key, None)
        self._live[key] = now_s + MAX_LIFE_S

    def ended(self, key: CallbackKey, now_s: float) -> None:
        """The call is over, or will not come: its callbacks are taken for 10 minutes more. Harmless if repeated."""
        if self._live.pop(key, None) is not None:
            self._ended[key] = now_s + AFTER_CALL_S

    def holds(self, key: CallbackKey, now_s: float) -> bool:
        """Whether callbacks of this call are taken now."""
        until_s = self._live.get(key) or self._ended.get(key)
        return until_s is not None and now_s < until_s

    def _forget(self, now_s: float) -> None:
        for known in (self._live, self._ended):
            while known and now_s >= known[oldest := next(iter(known))]:
                del known[oldest]


class CallbackKeys:
    """Makes the keys, and checks them; they are good in the process that made them."""

    def __init__(self, material: bytes, counts: TicketCounts, live: LiveCallbacks | None = None) -> None:
        """`material` as for `SignedTexts`."""
        self._texts = SignedTexts(material, _LABEL)
        self._counts = counts
        self._live = live if live is not None else LiveCallbacks()

    def mint(self, carrier: str, tenant: str, call_id: str, now_s: float) -> str:
        """Return a key, and take callbacks of the call from now on, for 4 hours at most.

        `now_s` is in Unix seconds. Raises TicketTooLong, or Overloaded where there are too many calls.
        """
        text = self._texts.write([carrier, tenant, call_id, int(now_s) + MAX_LIFE_S])
        self._live.began(CallbackKey(carrier, tenant, call_id), now_s)
        return text

    def ended(self, carrier: str, tenant: str, call_id: str, now_s: float) -> None:
        """The call is over, or will not come: its keys are good for 10 minutes more."""
        self._live.ended(CallbackKey(carrier, tenant, call_id), now_s)

    def read(
        self, value: str, *, carrier: str, now_s: float, tenant: str | None = None, call_id: str | None = None
    ) -> CallbackKey:
        """Return the call of a key. `tenant` and `call_id`, where they are known already, must be those of the key.

        Raises a TicketRefused, which is counted; TicketExpired also for a call that another process has.
        """
        try:
            key, expires_at = self._read(value)
            if key.carrier != carrier or tenant not in (None, key.tenant) or call_id not in (None, key.call_id):
                raise TicketElsewhere("the key is for another carrier, tenant or call")
            if now_s >= expires_at or not self._live.holds(key, now_s):
                raise TicketExpired("the key's call is over")
        except TicketRefused as refused:
            self._counts.note(carrier, refused)
            raise
        return key

    def _read(self, value: str) -> tuple[CallbackKey, int]:
        _, values = self._texts.read(value)
        match values:
            case [str(carrier), str(tenant), str(call_id), int(expires_at)]:
                return CallbackKey(carrier, tenant, call_id), expires_at
        raise TicketMalformed("the key lacks a field")
