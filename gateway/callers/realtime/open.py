"""How a Realtime client's call begins: admitted by its request, begun in the moment that its socket opens.

A Realtime client says all that a call needs in its request, so nothing is waited for on the socket.
Source: OpenAI Realtime API reference, connecting with WebSocket.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.auth.entrance import Entrance
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.leg import RealtimeCallerLeg
from gateway.callers.realtime.new_session import session_with, with_defaults
from gateway.callers.realtime.view import ClientView
from gateway.calls.admission import NO_AGENT, Admission, CallPlan, Ticket
from gateway.net.media_routes import Accepted
from gateway.realtime.session import EffectiveSession
from sessions.caller_facts import UNKNOWN_CALLER
from sessions.errors import WireError
from sessions.ports import Clock, Ids

NO_MODEL = replace(NO_AGENT, message="There is no such agent; `?model=` names one.")
NO_CALL_ID = Refusal(400, "unsupported_parameter", "Attaching to a call by `call_id` is not supported here.")
NO_INTENT = Refusal(400, "unsupported_parameter", "Transcription sessions (`intent`) are not supported here.")
BETA = Refusal(
    400, "beta_api_shape_disabled", "The beta Realtime API is not spoken here; leave out the OpenAI-Beta header."
)


@dataclass(frozen=True, slots=True)
class AdmittedClient:
    """One admitted Realtime client whose socket has not opened yet."""

    ticket: Ticket
    session: EffectiveSession
    greet: bool
    show_tools: bool


class RealtimeOpener:
    """Takes the sockets of Realtime clients."""

    protocol = "realtime"
    path = "/v1/realtime"
    subprotocols = ("realtime",)

    def __init__(self, admission: Admission, entrance: Entrance, clock: Clock, ids: Ids) -> None:
        self._admission = admission
        self._entrance = entrance
        self._clock = clock
        self._ids = ids

    async def admit(self, request: UpgradeRequest) -> AdmittedClient | Refusal:
        """Decide on a client; nothing is opened here."""
        caller = self._entrance.let_in(request, client_secrets=True)
        if isinstance(caller, Refusal):
            return self._refused(caller)
        refusal = _unsupported(request)
        if refusal is not None:
            return self._refused(refusal)
        ticket = await self._admission.admit(caller, request.query.get("model"))
        if isinstance(ticket, Refusal):
            return NO_MODEL if ticket is NO_AGENT else ticket
        try:
            return self._client(ticket, request)
        except WireError as error:
            self._admission.release(ticket)
            return self._refused(Refusal(400, error.code, error.message))

    def _refused(self, refusal: Refusal) -> Refusal:
        self._admission.note_refused(refusal)
        return refusal

    def release(self, client: AdmittedClient) -> None:
        """No socket of this client will come."""
        self._admission.release(client.ticket)

    def accept(self, client: AdmittedClient, request: UpgradeRequest) -> Accepted:
        """Begin the call of a client whose socket opens now."""
        ticket = client.ticket
        view = ClientView(self._ids, frozenset(ticket.server_tools), show_tools=client.show_tools)
        codec = RealtimeCallerCodec(client.session, view, self._ids, ticket.agent.client_may_set)
        leg = RealtimeCallerLeg(codec, view)
        plan = CallPlan(
            protocol=self.protocol,
            setup=codec.session.setup(),
            greet=client.greet,
            client_plays=True,
        )
        running = self._admission.begin(ticket, UNKNOWN_CALLER, leg, plan)
        leg.connect(running.from_caller, running.log)
        return Accepted(leg, running.fault)

    def _client(self, ticket: Ticket, request: UpgradeRequest) -> AdmittedClient:
        """Raises WireError where a client secret's defaults do not fit the agent."""
        agent = ticket.agent
        session = session_with(agent, ticket.toolbox, ticket.session_id, UNKNOWN_CALLER, self._clock)
        return AdmittedClient(
            ticket=ticket,
            session=with_defaults(session, agent, ticket.caller.session_defaults),
            greet=request.query.get("greeting") == "1",
            show_tools=request.query.get("server_tools") == "show" or "server_tools" in agent.client_may_set,
        )


def asks_for_beta(request: UpgradeRequest) -> bool:
    """Whether a client expects the shapes of the Realtime protocol's beta."""
    offered = ",".join(request.headers.all("openai-beta")).lower().split(",")
    return any(part.strip() == "realtime=v1" for part in offered)


def _unsupported(request: UpgradeRequest) -> Refusal | None:
    for name, refusal in (("call_id", NO_CALL_ID), ("intent", NO_INTENT)):
        if name in request.query:
            return refusal
    return BETA if asks_for_beta(request) else None
