"""Lets telephone calls in by the number that they called, and begins them once their far end has said what it sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.auth.entrance import Caller, KeyKind
from gateway.auth.requests import Refusal
from gateway.callers.phone.codec import MediaStarted
from gateway.callers.phone.line_feed import LineWatch
from gateway.callers.phone.plan import phone_plan
from gateway.calls.admission import Admission, Ticket
from gateway.calls.running import RunningCall
from gateway.config.numbers import Numbers
from gateway.config.settings import Settings
from gateway.legs.phone import MAX_WAITING_MS, PhoneLeg
from gateway.legs.ticker import Ticker
from sessions.caller_facts import CallerFacts
from sessions.ports import Clock

NO_NUMBER = Refusal(404, "number_not_found", "No agent answers that number; `numbers` in the settings names them.")


def _nothing(reason: str) -> None:
    """Stands in where a carrier needs no action at a call's end."""


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A telephone call that has been let in, and whose far end has not said yet what it sends.

    `protocol` is the protocol's name in records. `on_end` is called once with the end reason when the media socket is
    given up, whether the call had begun or not; it must not wait.
    `redial_ms` is how long a call that has begun waits for its far end to dial again when the socket is lost
    (`gateway/callers/phone/redial.py`); 0 where the protocol knows no such thing, and the call ends at once.
    """

    ticket: Ticket
    protocol: str
    on_end: Callable[[str], None] = _nothing
    redial_ms: int = 0


class PhoneCalls:
    """What all telephone protocols of one process share."""

    def __init__(
        self,
        admission: Admission,
        numbers: Numbers,
        clock: Clock,
        max_waiting_ms: int = MAX_WAITING_MS,
    ) -> None:
        """`numbers` says which agent answers a called number, and in which language."""
        self.clock = clock
        self.lines = LineWatch(clock)
        self._admission = admission
        self._numbers = numbers
        self._max_waiting_ms = max_waiting_ms
        self._ticker: Ticker | None = None  # made with the first call, in the event loop

    @classmethod
    def of(cls, settings: Settings, admission: Admission, clock: Clock) -> PhoneCalls:
        """Telephone calls as the settings have them."""
        return cls(admission, settings.numbers, clock, settings.max_waiting_speech_s * 1000)

    async def admit(self, tenant: str, called: str | None) -> Ticket | Refusal:
        """Decide on a call of a carrier's to a number. The ticket must be given to `begin` or `release`."""
        route = self._numbers.agent_for(called)
        if route is None:
            self._admission.note_refused(NO_NUMBER)
            return NO_NUMBER
        return await self.admit_to(tenant, route.agent)

    async def admit_to(self, tenant: str, agent: str) -> Ticket | Refusal:
        """Decide on a call to an agent that was chosen before, as a media ticket says."""
        return await self._admission.admit(Caller(tenant, KeyKind.CARRIER, None, None), agent, keys=True)

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back whose call will not begin."""
        self._admission.release(ticket)

    def begin(self, expected: ExpectedCall, started: MediaStarted) -> tuple[PhoneLeg, RunningCall]:
        """Begin a call whose far end has said what it sends. The leg is connected, but not opened."""
        ticket, far_end = expected.ticket, started.rules.format
        facts = self._with_language(started.facts, ticket.agent.name)
        if self._ticker is None:
            self._ticker = Ticker(self.clock)
        plan = phone_plan(
            ticket,
            facts,
            self.clock,
            protocol=expected.protocol,
            far_end=far_end,
            format=self._admission.format_for(ticket.agent, far_end),
        )
        leg = PhoneLeg(started.rules, self._ticker, self.clock, self._max_waiting_ms)
        running = self._admission.begin(ticket, facts, leg, plan)
        leg.connect(running.from_caller, running.fault)
        return leg, running

    def _with_language(self, facts: CallerFacts, agent: str) -> CallerFacts:
        """The facts, with the language of the called number.

        It is looked up only now, so that no carrier and no ticket has to carry it from the webhook to the media socket.
        """
        route = self._numbers.agent_for(facts.called)
        # Another process, with other settings, may have chosen the agent.
        if route is None or route.agent != agent:
            return facts
        return replace(facts, language=route.language)
