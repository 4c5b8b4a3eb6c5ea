"""Where an admitted caller becomes a running call: agent, tools, session, record and legs are put together here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.agents import AgentBook, render_instructions
from gateway.auth.entrance import Caller, Entrance, Quota
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.secret_sessions import SecretSession, counted, without_the_agents
from gateway.callers.realtime import RealtimeCallerLeg
from gateway.callers.realtime_codec import RealtimeCallerCodec
from gateway.callers.realtime_view import ClientView
from gateway.callrecord import CallFacts, CallRecord
from gateway.calls import RunningCall
from gateway.live import CallBoard, LiveCall
from gateway.models.leg import ModelConnector
from gateway.problems import ProblemCounts
from gateway.realtime import fields
from gateway.realtime.session import AgentSide, EffectiveSession
from gateway.recording.recorder import Recorder
from gateway.tools.contract import ToolContext
from gateway.tools.functions import FunctionTool
from gateway.tools.toolbox import McpTools, Toolbox
from gateway.upgrade import Accepted
from sessions.agent import Agent, ReplayPolicy, ToolRule
from sessions.call import Call
from sessions.documents import Owner
from sessions.errors import WireError
from sessions.ports import Clock, Ids, Json, JsonObject
from sessions.state import CallRules
from sessions.stores.contract import Document, SessionKey

log = logging.getLogger(__name__)

NO_AGENT = Refusal(404, "model_not_found", "There is no such agent; `?model=` names one.")
NO_CALL_ID = Refusal(400, "unsupported_parameter", "Attaching to a call by `call_id` is not supported here.")
NO_INTENT = Refusal(400, "unsupported_parameter", "Transcription sessions (`intent`) are not supported here.")
UNAVAILABLE = "agent_unavailable"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One admitted caller whose socket is to come."""

    caller: Caller
    agent: Agent
    session: EffectiveSession
    toolbox: Toolbox
    greet: bool
    show_tools: bool


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds for calls, from the settings."""

    max_calls: int
    max_tenant_calls: int
    redial_limit_ms: int
    max_tool_result_bytes: int
    ttl_s: int | None


@dataclass(frozen=True, slots=True)
class SwitchboardParts:
    """What calls are made of."""

    agents: AgentBook
    unavailable: Callable[[Agent], str | None]
    connector: Callable[[Agent], ModelConnector]
    mcp: McpTools
    tools_tried: Callable[[Iterable[str]], Awaitable[None]]  # waits, within a bound, for tool servers of the first call
    functions: Mapping[str, FunctionTool]
    entrance: Entrance
    board: CallBoard
    recorder: Recorder
    save: Callable[[Document], None]
    owner: Owner
    clock: Clock
    ids: Ids
    limits: CallLimits
    warmed: asyncio.Event  # what the agents need has been loaded


class Switchboard:
    """Admits callers and starts their calls."""

    def __init__(self, parts: SwitchboardParts) -> None:
        self._parts = parts
        self._expected: dict[str, int] = {}  # admitted, their sockets still to come; by tenant
        self._lacking: dict[str, tuple[str, ...]] = {}  # by agent; what was told last
        self.model_legs_opened = 0
        self.model_problems = ProblemCounts()
        limits = parts.limits
        self._quota = Quota(
            live_calls=lambda: len(parts.board) + sum(self._expected.values()),
            tenant_calls=lambda tenant: parts.board.count_of(tenant) + self._expected.get(tenant, 0),
            max_calls=limits.max_calls,
            max_tenant_calls=limits.max_tenant_calls,
        )

    async def admit(self, request: UpgradeRequest) -> Ticket | Refusal:
        """Decide on a Realtime client, in the order of the entrance; nothing is opened here."""
        parts = self._parts
        known = parts.entrance.let_in(request, client_secrets=True)
        if isinstance(known, Refusal):
            return known
        for name, refusal in (("call_id", NO_CALL_ID), ("intent", NO_INTENT)):
            if name in request.query:
                return refusal
        await parts.warmed.wait()  # loading a part in the middle of calls would be heard in all of them
        wanted = parts.agents.get(request.query.get("model") or known.agent or "")
        if wanted is not None:
            await parts.tools_tried(grant.server for grant in wanted.tools if grant.server is not None)
        caller = parts.entrance.admit_call(request, request.query.get("model"), self._quota, self._policy)
        if isinstance(caller, Refusal):
            return caller
        agent = parts.agents.get(request.query.get("model") or caller.agent or "")
        assert agent is not None  # the policy has just found it
        try:
            ticket = self._ticket(caller, agent, request)
        except WireError as error:
            return Refusal(400, error.code, error.message)
        self._expected[caller.tenant] = self._expected.get(caller.tenant, 0) + 1
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        """An admitted caller whose socket never came."""
        tenant = ticket.caller.tenant
        self._expected[tenant] -= 1
        if not self._expected[tenant]:
            del self._expected[tenant]

    def accept(self, ticket: Ticket, request: UpgradeRequest) -> Accepted:
        """Start the call of an admitted caller, whose socket opens now."""
        self.abandon(ticket)
        parts, agent, session = self._parts, ticket.agent, ticket.session
        started_ms, started_at = parts.clock.now_ms(), parts.clock.wall_s()
        tools = _server_tools(ticket.toolbox)
        rules = CallRules(
            server_tools=tools,
            greeting=agent.greeting if ticket.greet else None,
            client_plays=True,
            length_ms=agent.limits.length_ms,
            idle_ms=agent.limits.idle_ms,
            redial_limit_ms=parts.limits.redial_limit_ms,
        )
        facts = CallFacts(
            tenant=ticket.caller.tenant,
            session_id=session.session_id,
            agent=agent.name,
            agent_version=agent.version,
            model=str(agent.model),
            protocol="realtime",
            owner=parts.owner,
            started_at=started_at,
            started_ms=started_ms,
            ttl_s=parts.limits.ttl_s,
        )
        record = self._record(facts, agent, session)
        view = ClientView(parts.ids, frozenset(tools), show_tools=ticket.show_tools)

        def dialled() -> None:
            self.model_legs_opened += 1
            view.order.leg_replaced()

        codec = RealtimeCallerCodec(session, view, parts.ids, agent.client_may_set)
        running = RunningCall(
            Call(rules, codec.session.setup(), parts.ids, started_ms),
            parts.connector(agent),
            ticket.toolbox,
            ToolContext(session.session_id, agent.name, {}, parts.clock),
            record,
            parts.clock,
            dialled,
        )
        leg = RealtimeCallerLeg(codec, view, running.from_caller, record.log)
        running.attach(leg)
        live = LiveCall(session.session_id, facts.tenant, agent.name, "realtime", started_at, running)
        parts.board.host(live)
        return Accepted(leg, running.fault)

    def session_for(self, agent: Agent, defaults: JsonObject | None, toolbox: Toolbox) -> EffectiveSession:
        """A new session with an agent, with a client secret's defaults laid over it. Raises WireError."""
        clock = self._parts.clock
        today = datetime.fromtimestamp(clock.wall_s(), UTC).astimezone()
        instructions = render_instructions(agent, today=today, caller_number="")
        side = AgentSide.of(agent, instructions, toolbox.specs)
        expires_at = int(clock.wall_s()) + agent.limits.length_ms // 1000
        session = EffectiveSession.for_agent(side, self._parts.ids.new("sess"), expires_at, agent.name)
        return session if not defaults else session.merged(defaults, agent.client_may_set, voice_locked=False)

    def toolbox_for(self, agent: Agent) -> Toolbox:
        """An agent's tools as they stand now."""
        parts = self._parts
        return Toolbox(agent.tools, parts.mcp, parts.functions, max_result_bytes=parts.limits.max_tool_result_bytes)

    def _policy(self, caller: Caller, name: str | None) -> Refusal | None:
        agent = self._parts.agents.get(name or "")
        if agent is None:
            return NO_AGENT
        reason = self._parts.unavailable(agent)
        if reason is not None:
            return Refusal(503, UNAVAILABLE, f"The agent cannot be called: {reason}.")
        return None

    def _ticket(self, caller: Caller, agent: Agent, request: UpgradeRequest) -> Ticket:
        toolbox = self.toolbox_for(agent)
        self._tell_lacking(agent.name, toolbox.problems)
        return Ticket(
            caller=caller,
            agent=agent,
            session=self.session_for(agent, caller.session_defaults, toolbox),
            toolbox=toolbox,
            greet=request.query.get("greeting") == "1",
            show_tools=request.query.get("server_tools") == "show" or "server_tools" in agent.client_may_set,
        )

    def _tell_lacking(self, agent: str, problems: tuple[str, ...]) -> None:
        """Log what an agent lacks when that changes, and not for each of its calls."""
        known = self._lacking.get(agent, ())
        for problem in problems:
            if problem not in known:
                log.warning("agent lacks a tool", extra={"agent": agent, "problem": problem})
        if known and not problems:
            log.info("agent has all its tools again", extra={"agent": agent})
        self._lacking[agent] = problems

    def _record(self, facts: CallFacts, agent: Agent, session: EffectiveSession) -> CallRecord:
        parts = self._parts
        recording = None
        if agent.recording or agent.replay is not ReplayPolicy.OFF:
            recording = parts.recorder.begin(
                SessionKey(facts.tenant, facts.session_id),
                recording=agent.recording,
                replay=agent.replay,
                agent=agent.name,
                version=agent.version,
                formats={"caller": str(session.input_format), "agent": str(session.output_format)},
                started_ms=facts.started_ms,
            )
        return CallRecord(facts, parts.save, parts.recorder, recording, parts.clock, self.model_problems)

    def secret_session(self, wish: JsonObject) -> SecretSession:
        """The session that a client secret made for this wish opens. Raises WireError naming the field."""
        if "type" in wish:  # said first: naming an agent would not help
            fields.one_of(wish["type"], "session.type", ("realtime",))
        agent = self._agent_for_secret(wish.get("model"))
        session = self.session_for(agent, wish, self.toolbox_for(agent))
        defaults = counted(wish, agent.client_may_set)
        return SecretSession(agent.name, defaults or None, without_the_agents(session.as_client_sees()))

    def _agent_for_secret(self, wanted: Json) -> Agent:
        """The agent that is named; where none is, the only one that can be called."""
        path = "session.model"
        if wanted is None:
            callable_now = [agent for agent in self._parts.agents.all() if self._parts.unavailable(agent) is None]
            if len(callable_now) == 1:
                return callable_now[0]
            raise fields.missing(path)
        agent = self._parts.agents.get(fields.name(wanted, path))
        if agent is None:
            raise WireError("There is no such agent.", code="model_not_found", param=path)
        return agent


def _server_tools(toolbox: Toolbox) -> dict[str, ToolRule]:
    rules = {spec.name: toolbox.rule(spec.name) for spec in toolbox.specs}
    return {name: rule for name, rule in rules.items() if rule is not None}
