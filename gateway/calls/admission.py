"""Lets callers in and starts their calls, whatever their protocol: agent, tools, quota, policy, ticket and record.

A caller is admitted first and gets a ticket. Its call begins when its protocol knows who is calling: for some that is
when the socket opens, for others with the first message on it. Until then the ticket counts as a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from audio.format_choice import model_format
from audio.formats import AudioFormat
from gateway.agents.book import AgentBook, render_greeting
from gateway.auth.entrance import Caller, Quota, admit_call
from gateway.auth.requests import Refusal
from gateway.calls.live import LiveCall, LiveCalls
from gateway.calls.record import CallFacts, CallRecord
from gateway.calls.running import RunningCall
from gateway.config.settings import Settings
from gateway.legs.caller import CallerLeg
from gateway.legs.model import ModelConnector
from gateway.recording.recorder import CallRecording, Recorder
from gateway.telemetry.figures import Figures
from gateway.telemetry.names import CALLS_REFUSED, LEGS_OPENED
from gateway.telemetry.spans.headers import TraceHeaders
from gateway.tools.contract import ToolContext
from gateway.tools.functions import FunctionTool
from gateway.tools.toolbox import McpTools, Toolbox
from sessions.accounts import ModelTarget, SetupFacts
from sessions.agent import Agent, PhoneRules, ReplayPolicy, ToolRule
from sessions.call import Call
from sessions.caller_facts import CallerFacts
from sessions.costs import UNPRICED, Pricing
from sessions.keys import COLLECT_KEYS
from sessions.ports import Clock, Ids
from sessions.setup import ModelSetup
from sessions.state import CallRules
from sessions.stores.contract import Document, SessionKey
from sessions.stores.documents import Owner, ttl_of

log = logging.getLogger(__name__)

NO_AGENT = Refusal(404, "model_not_found", "There is no such agent.")
UNAVAILABLE = "agent_unavailable"


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """One admitted caller whose call has not begun."""

    caller: Caller
    agent: Agent
    session_id: str
    toolbox: Toolbox
    server_tools: Mapping[str, ToolRule]  # by the name that the model knows
    phone: PhoneRules | None = None  # of a caller who can press keys
    admission_ms: int = 0  # how long the admission took


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What the caller's protocol decides about a call."""

    protocol: str
    setup: ModelSetup
    greet: bool  # whether the agent speaks its greeting
    client_plays: bool  # the client owns playback and truncation
    # What the caller's far end sends, if the call has to fit it to the model; None: what the setup says.
    far_end: AudioFormat | None = None
    greeting_wait_ms: int = 500  # how long the greeting waits for the client's first settings
    # How much silence ends the call if the agent's file sets no limit; None: no silence does.
    idle_ms: int | None = None
    traceparent: str = ""  # the W3C header in the caller's request, if it is well formed


@dataclass(frozen=True, slots=True)
class CallQuotas:
    """Bounds for calls, from the settings."""

    max_calls: int
    max_tenant_calls: int
    redial_limit_ms: int
    max_tool_result_bytes: int
    ttl_s: int | None

    @classmethod
    def of(cls, settings: Settings) -> CallQuotas:
        """The bounds that these settings say."""
        return cls(
            max_calls=settings.max_calls,
            max_tenant_calls=settings.max_tenant_calls,
            redial_limit_ms=settings.redial_limit_ms,
            max_tool_result_bytes=settings.max_tool_result_bytes,
            ttl_s=ttl_of(settings.retention_days),
        )


class Models(Protocol):
    """The models of the agents."""

    def unavailable(self, agent: Agent) -> str | None:
        """Why an agent cannot be called, in words that anybody may see; None if it can be called."""
        ...

    def connector(self, agent: Agent) -> ModelConnector:
        """A connector for one call."""
        ...

    def target(self, agent: Agent) -> ModelTarget:
        """The model that an agent's calls are dialled to."""
        ...

    def formats(self, agent: Agent) -> tuple[AudioFormat, ...]:
        """The formats of sound that an agent's model takes, and gives."""
        ...


@dataclass(frozen=True, slots=True)
class AdmissionParts:
    """What calls are made of."""

    agents: AgentBook
    models: Models
    mcp: McpTools
    tools_tried: Callable[[Iterable[str]], Awaitable[None]]  # waits, within a bound, for tool servers of the first call
    functions: Mapping[str, FunctionTool]
    live_calls: LiveCalls
    recorder: Recorder
    save: Callable[[Document], None]
    owner: Owner
    clock: Clock
    ids: Ids
    quotas: CallQuotas
    figures: Figures
    trace_headers: TraceHeaders
    warmed: asyncio.Event  # set once everything that the agents need has been loaded
    pricing: Pricing = UNPRICED


class Admission:
    """Admits callers and begins their calls."""

    def __init__(self, parts: AdmissionParts) -> None:
        self._parts = parts
        self._tickets: set[Ticket] = set()  # neither begun nor released
        self._missing_tools: dict[str, tuple[str, ...]] = {}  # what was logged last, by agent
        self.model_legs_opened = 0
        self._quota = Quota(
            live_calls=lambda: len(parts.live_calls) + len(self._tickets),
            tenant_calls=lambda tenant: parts.live_calls.count_of(tenant) + self._tickets_of(tenant),
            max_calls=parts.quotas.max_calls,
            max_tenant_calls=parts.quotas.max_tenant_calls,
        )

    async def admit(self, caller: Caller, wanted: str | None, *, keys: bool = False) -> Ticket | Refusal:
        """Decide on a call of an identified caller to the agent `wanted`; None means the one in its client secret.

        With `keys` the caller has a telephone with keys, and the agent has the tool that waits for them, if granted.
        The ticket counts as a call until it is given to `begin` or `release`. Nothing is opened here.
        """
        parts, asked_ms = self._parts, self._parts.clock.now_ms()
        await parts.warmed.wait()  # loading a part in the middle of calls would be heard in all of them
        agent = parts.agents.get(wanted or caller.agent or "")
        if agent is not None:
            await parts.tools_tried(grant.server for grant in agent.tools if grant.server is not None)
        # There is no await from here on, so no other request can take the last place in between.
        refusal = admit_call(caller, wanted, self._quota, self._policy)
        if refusal is not None:
            self.note_refused(refusal)
            return refusal
        agent = parts.agents.get(wanted or caller.agent or "")
        assert agent is not None  # the policy has just found it
        admission_ms = parts.clock.now_ms() - asked_ms
        ticket = self._ticket(caller, agent, agent.phone if keys else None, admission_ms)
        self._tickets.add(ticket)
        return ticket

    def note_refused(self, refusal: Refusal) -> None:
        """Count a call that is not let in, for another reason than those that `admit` finds."""
        self._parts.figures.add(CALLS_REFUSED, refusal.code)

    @property
    def capacity(self) -> int:
        """How many calls may go on at once."""
        return self._parts.quotas.max_calls

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back whose call will not begin. Harmless for one that was begun or released before."""
        self._tickets.discard(ticket)

    def begin(self, ticket: Ticket, facts: CallerFacts, leg: CallerLeg, plan: CallPlan) -> RunningCall:
        """Start the call of an admitted caller on its leg, which gets no command before the loop's next turn.

        The ticket is used up, even if this fails; one that was begun or released before is an error of ours.
        """
        assert ticket in self._tickets
        self._tickets.remove(ticket)
        parts, agent = self._parts, ticket.agent
        call_facts = self._call_facts(ticket, plan)
        rules = self._rules(ticket, facts, plan)
        recording = self._recording(call_facts, agent, plan)
        connector = parts.models.connector(agent)
        running = RunningCall(
            Call(rules, plan.setup, parts.ids, call_facts.started_ms),
            connector if plan.far_end is None else _converting(connector),
            ticket.toolbox,
            ToolContext(ticket.session_id, agent.name, facts, parts.clock),
            CallRecord(call_facts, parts.save, parts.recorder, recording, parts.clock, parts.figures),
            parts.clock,
            partial(self._count_model_leg, call_facts.model),
            parts.trace_headers,
        )
        running.attach(leg)
        parts.live_calls.start(
            LiveCall(
                session_id=ticket.session_id,
                tenant=ticket.caller.tenant,
                agent=agent.name,
                protocol=plan.protocol,
                started_at=call_facts.started_at,
                running=running,
                model=call_facts.model,
            )
        )
        return running

    def format_for(self, agent: Agent, far_end: AudioFormat) -> AudioFormat:
        """The format in which a call whose far end sends `far_end` talks to this agent's model, both ways."""
        return model_format(far_end, self._parts.models.formats(agent))

    def toolbox_for(self, agent: Agent, *, keys: bool = False) -> Toolbox:
        """An agent's tools as they stand now, for a caller with or without `keys` to press."""
        parts = self._parts
        grants = [grant for grant in agent.tools if keys or grant.function != COLLECT_KEYS]
        return Toolbox(grants, parts.mcp, parts.functions, max_result_bytes=parts.quotas.max_tool_result_bytes)

    def _rules(self, ticket: Ticket, facts: CallerFacts, plan: CallPlan) -> CallRules:
        parts, agent = self._parts, ticket.agent
        today = datetime.fromtimestamp(parts.clock.wall_s(), UTC).astimezone()
        return CallRules(
            server_tools=ticket.server_tools,
            greeting=render_greeting(agent, today=today, caller=facts) if plan.greet else None,
            client_plays=plan.client_plays,
            length_ms=agent.limits.length_ms,
            idle_ms=plan.idle_ms if agent.limits.idle_ms is None else agent.limits.idle_ms,
            greeting_wait_ms=plan.greeting_wait_ms,
            redial_limit_ms=parts.quotas.redial_limit_ms,
            caller=facts,
            phone=ticket.phone,
            target=parts.models.target(agent),
            pricing=parts.pricing,
            cost_nano=agent.limits.cost_nano,
            budget_goodbye=agent.budget_goodbye,
        )

    def _count_model_leg(self, model: str) -> None:
        self.model_legs_opened += 1
        self._parts.figures.add(LEGS_OPENED, model)

    def _tickets_of(self, tenant: str) -> int:
        return sum(ticket.caller.tenant == tenant for ticket in self._tickets)

    def _policy(self, caller: Caller, name: str | None) -> Refusal | None:
        agent = self._parts.agents.get(name or "")
        if agent is None:
            return NO_AGENT
        reason = self._parts.models.unavailable(agent)
        if reason is not None:
            return Refusal(503, UNAVAILABLE, f"The agent cannot be called: {reason}.")
        return None

    def _ticket(self, caller: Caller, agent: Agent, phone: PhoneRules | None, admission_ms: int) -> Ticket:
        toolbox = self.toolbox_for(agent, keys=phone is not None)
        self._log_missing_tools(agent.name, toolbox.problems)
        rules = {spec.name: toolbox.rule(spec.name) for spec in toolbox.specs}
        return Ticket(
            caller=caller,
            agent=agent,
            session_id=self._parts.ids.new("sess"),
            toolbox=toolbox,
            server_tools={name: rule for name, rule in rules.items() if rule is not None},
            phone=phone,
            admission_ms=admission_ms,
        )

    def _log_missing_tools(self, agent: str, problems: tuple[str, ...]) -> None:
        """Log the tools that an agent lacks when they change, instead of for each of its calls."""
        known = self._missing_tools.get(agent, ())
        for problem in problems:
            if problem not in known:
                log.warning("agent lacks a tool", extra={"agent": agent, "problem": problem})
        if known and not problems:
            log.info("agent has all its tools again", extra={"agent": agent})
        self._missing_tools[agent] = problems

    def _call_facts(self, ticket: Ticket, plan: CallPlan) -> CallFacts:
        parts, agent = self._parts, ticket.agent
        return CallFacts(
            tenant=ticket.caller.tenant,
            session_id=ticket.session_id,
            agent=agent.name,
            agent_version=agent.version,
            model=str(agent.model),
            protocol=plan.protocol,
            owner=parts.owner,
            started_at=parts.clock.wall_s(),
            started_ms=parts.clock.now_ms(),
            ttl_s=parts.quotas.ttl_s,
            setup=SetupFacts(
                admission_ms=ticket.admission_ms,
                caller_format=str(plan.far_end or plan.setup.input_format),
                model_format=str(plan.setup.input_format),
                traceparent=plan.traceparent,
            ),
            prices=parts.pricing.version,
        )

    def _recording(self, facts: CallFacts, agent: Agent, plan: CallPlan) -> CallRecording | None:
        """The recording of a call, None where the agent's file asks for none."""
        if not agent.recording and agent.replay is ReplayPolicy.OFF:
            return None
        return self._parts.recorder.begin(
            SessionKey(facts.tenant, facts.session_id),
            recording=agent.recording,
            replay=agent.replay,
            agent=agent.name,
            version=agent.version,
            formats={
                "caller": str(plan.far_end or plan.setup.input_format),
                "agent": str(plan.setup.output_format),
            },
            started_ms=facts.started_ms,
        )


def _converting(connector: ModelConnector) -> ModelConnector:
    """The same connector, whose legs take sound in any format.

    Imported here because it loads numpy, which the start should not wait for: protocols of telephones load it before.
    """
    from gateway.calls.converted_sound import ConvertingConnector

    return ConvertingConnector(connector)
