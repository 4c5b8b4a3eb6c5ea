"""A made-up protocol whose calls begin after their sockets: as with a carrier, the first message says who calls.

The first message is a JSON object with `from`, `to` and `notes`; each later one asks the agent for an answer.
"""

from __future__ import annotations

import asyncio

import orjson
from support.calls.call_rig import Phone

from gateway.app import Gateway
from gateway.auth.entrance import Caller, KeyKind
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.callers.realtime.new_session import session_with
from gateway.calls.admission import CallPlan, Ticket
from gateway.calls.running import RunningCall
from gateway.clock import LoopClock
from gateway.net.media_routes import Accepted
from gateway.net.sockets import Socket
from gateway.timer import Alarm
from sessions.caller_facts import CallerFacts
from sessions.events import HungUp, ResponseRequest, ResponseWanted

FIRST_MESSAGE_MS = 5_000
ANYBODY = Caller("default", KeyKind.NONE, None, None)


class FirstMessageLeg(Phone):
    """A caller's leg without a call until its first message."""

    def __init__(self, gateway: Gateway, ticket: Ticket) -> None:
        super().__init__()
        self._gateway = gateway
        self._ticket = ticket
        self._socket: Socket | None = None
        self.running: RunningCall | None = None
        self.faults: list[BaseException] = []
        self._clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self._alarm = Alarm(self._clock, self._kept_waiting)

    def opened(self, socket: Socket) -> None:
        """The socket is open; who calls is not known yet."""
        self._socket = socket
        self._alarm.set(self._clock.now_ms() + FIRST_MESSAGE_MS)

    def text(self, message: bytes) -> None:
        """Begin the call with the first message, and ask for an answer with each later one."""
        if self.running is None:
            self.running = self._begin(orjson.loads(message))
        else:
            self.running.from_caller(ResponseWanted(ResponseRequest("ask", False, None, None, None), None))

    def binary(self, message: bytes) -> None:
        """The protocol has no binary messages."""

    def lost(self, code: int, reason: str) -> None:
        """The socket is gone, with or without a call on it."""
        self._alarm.close()
        self._socket = None
        if self.running is None:
            self._gateway.admission.release(self._ticket)
        else:
            self.running.from_caller(HungUp("caller_hung_up"))

    def broke(self, fault: BaseException) -> None:
        """This leg has raised; the socket closes by itself."""
        self.faults.append(fault)
        if self.running is not None:
            self.running.fault(fault)

    def close(self, code: int, reason: str) -> None:
        """Close the socket, if it is open."""
        super().close(code, reason)
        if self._socket is not None:
            self._socket.close(code, reason)

    def _begin(self, first: dict[str, object]) -> RunningCall:
        self._alarm.close()
        facts = CallerFacts.of(first["from"], first.get("to"), "inbound", first.get("notes"))
        ticket, admission = self._ticket, self._gateway.admission
        session = session_with(ticket.agent, ticket.toolbox, ticket.session_id, facts, self._clock)
        plan = CallPlan("first_message", session.setup(), greet=False, client_plays=False)
        return admission.begin(ticket, facts, self, plan)

    def _kept_waiting(self) -> None:
        self.close(1008, "the first message did not come")


class FirstMessageOpener:
    """Takes the sockets of the made-up protocol."""

    path = "/first_message"
    subprotocols = ()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.legs: list[FirstMessageLeg] = []

    async def admit(self, request: UpgradeRequest) -> Ticket | Refusal:
        """Let anybody in."""
        return await self._gateway.admission.admit(ANYBODY, request.query.get("model"))

    def accept(self, ticket: Ticket, request: UpgradeRequest) -> Accepted:
        """The socket opens; its leg answers for the ticket from here on."""
        leg = FirstMessageLeg(self._gateway, ticket)
        self.legs.append(leg)
        return Accepted(leg, leg.broke)

    def release(self, ticket: Ticket) -> None:
        """No socket will open."""
        self._gateway.admission.release(ticket)
