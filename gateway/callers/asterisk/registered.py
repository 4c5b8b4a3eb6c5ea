"""Telephone calls that an Asterisk dialplan has announced, and whose media socket has not come yet.

The dialplan asks for a UUID and says who calls whom. Then Asterisk dials a media socket with that UUID: AudioSocket
(the first frame), or chan_websocket (`?call=UUID`). Each UUID opens one call, once, within `HOLD_MS`. A UUID holds 122
random bits, so it is the socket's credential too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from audio.formats import AudioFormat
from gateway.auth.requests import Refusal
from gateway.callers.asterisk.registration import Registration
from gateway.callers.phone.calls import PhoneCalls
from gateway.calls.admission import Ticket
from gateway.guard import Boundary, cause_of
from gateway.timer import Alarm
from sessions.caller_facts import CallerFacts

log = logging.getLogger(__name__)

# Asterisk dials within milliseconds, but may ring somebody first. The call counts in the quota all the while.
HOLD_MS = 60_000
MAX_WAITING = 1_000

DRAINING = Refusal(503, "draining", "This server is about to stop; try again.", retry_after_s=1)
TOO_MANY = Refusal(503, "too_many_waiting", "Too many calls wait for their media socket; try again.", retry_after_s=5)
NO_DIAL = Refusal(
    400, "media_id_not_supported", "This server does not dial Asterisk: `carriers.asterisk.media_url` is not set."
)


@dataclass(frozen=True, slots=True)
class RegisteredCall:
    """A call that was let in. Who gets it must give its ticket to `PhoneCalls.begin` or `PhoneCalls.release`.

    `format` is what its media socket carries, where the dialplan has said it.
    """

    call_id: UUID
    ticket: Ticket
    facts: CallerFacts
    format: AudioFormat | None = None


# Dials Asterisk's `/media/<id>` for a call, and answers for its ticket from then on. It must not wait.
DialMedia = Callable[[RegisteredCall, str], None]


class RegisteredCalls:
    """The calls of one process that wait for their media socket.

    `counts` holds how often each thing has happened: `registered`, `taken`, `dialled`, `expired`, `dropped`, and
    `refused_` with a refusal's code.
    """

    def __init__(
        self,
        calls: PhoneCalls,
        draining: Callable[[], bool],
        *,
        dial_media: DialMedia | None = None,
        new_id: Callable[[], UUID] = uuid4,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """`dial_media` is None where the gateway does not dial Asterisk; a `media_id` is refused then."""
        self.counts: Counter[str] = Counter()
        self._calls = calls
        self._draining = draining
        self._dial_media = dial_media
        self._new_id = new_id
        self._max_waiting = max_waiting
        self._waiting: dict[UUID, tuple[RegisteredCall, int]] = {}  # with the end of its time, oldest first
        self._alarm = Alarm(calls.clock, self._on_time)

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    async def register(self, tenant: str, registration: Registration) -> RegisteredCall | Refusal:
        """Let a call of this tenant in, and hold it for its media socket; with a media id, dial that instead."""
        found = await self._register(tenant, registration)
        if isinstance(found, Refusal):
            self.count_refused(found.code)
        return found

    def count_refused(self, why: str) -> None:
        """Count an announcement that was refused."""
        self.counts[f"refused_{why}"] += 1

    def take(self, call_id: UUID) -> RegisteredCall | None:
        """The call that waits under this id, for its media socket; None if none does, or one was taken before."""
        held = self._waiting.pop(call_id, None)
        if held is None:
            return None
        self.counts["taken"] += 1
        return held[0]

    def close(self) -> None:
        """Give all tickets back: no media socket is taken any more."""
        for registered, _ in self._waiting.values():
            self._calls.release(registered.ticket)
        self.counts["dropped"] += len(self._waiting)
        self._waiting.clear()
        self._alarm.cancel()

    async def _register(self, tenant: str, registration: Registration) -> RegisteredCall | Refusal:
        if registration.media_id is not None and self._dial_media is None:
            return NO_DIAL
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        ticket = await self._calls.admit(tenant, registration.facts.called)
        if isinstance(ticket, Refusal):
            return ticket
        refusal = self._refusal()  # again, because the admission may have waited
        if refusal is not None:
            self._calls.release(ticket)
            return refusal
        registered = RegisteredCall(self._new_id(), ticket, registration.facts, registration.format)
        self.counts["registered"] += 1
        if registration.media_id is None or self._dial_media is None:
            self._hold(registered)
        else:
            self._dial(self._dial_media, registered, registration.media_id)
        return registered

    def _refusal(self) -> Refusal | None:
        if self._draining():
            return DRAINING
        return TOO_MANY if len(self._waiting) >= self._max_waiting else None

    def _hold(self, registered: RegisteredCall) -> None:
        until_ms = self._calls.clock.now_ms() + HOLD_MS
        self._waiting[registered.call_id] = (registered, until_ms)
        self._alarm.set(until_ms)

    def _dial(self, dial_media: DialMedia, registered: RegisteredCall, media_id: str) -> None:
        self.counts["dialled"] += 1

        def failed(error: BaseException) -> None:
            log.error("a call's media socket could not be dialled", extra=cause_of(error))
            self._calls.release(registered.ticket)

        with Boundary(failed):
            dial_media(registered, media_id)

    def _on_time(self) -> None:
        """Release the calls whose time is over."""
        now_ms = self._calls.clock.now_ms()
        while self._waiting:
            call_id, (registered, until_ms) = next(iter(self._waiting.items()))
            if until_ms > now_ms:
                self._alarm.set(until_ms)
                return
            del self._waiting[call_id]
            self.counts["expired"] += 1
            self._calls.release(registered.ticket)
