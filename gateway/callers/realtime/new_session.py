"""A Realtime session as it stands before its client has sent anything: for a call, and for a client secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from audio.formats import PCM16_24K, AudioFormat
from gateway.agents.book import AgentBook, render_instructions
from gateway.auth.secret_sessions import SecretSession, settable_fields, without_agent_fields
from gateway.realtime import fields
from gateway.realtime.session import AgentSide, EffectiveSession
from gateway.tools.toolbox import Toolbox
from sessions.agent import Agent
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts
from sessions.errors import WireError
from sessions.ports import Clock, Ids, Json, JsonObject


def session_with(
    agent: Agent,
    toolbox: Toolbox,
    session_id: str,
    caller: CallerFacts,
    clock: Clock,
    format: AudioFormat = PCM16_24K,
) -> EffectiveSession:
    """The session of one call with an agent, before any client has changed it. `format` is one that its model takes."""
    wall_s = clock.wall_s()
    today = datetime.fromtimestamp(wall_s, UTC).astimezone()
    instructions = render_instructions(agent, today=today, caller=caller)
    side = AgentSide.of(agent, instructions, toolbox.specs, caller.language)
    expires_at = int(wall_s) + agent.limits.length_ms // 1000
    return EffectiveSession.for_agent(side, session_id, expires_at, agent.name, format)


def with_defaults(session: EffectiveSession, agent: Agent, defaults: JsonObject | None) -> EffectiveSession:
    """The session with a client secret's defaults laid over it. Raises WireError naming the field."""
    return session if not defaults else session.merged(defaults, agent.client_may_set, voice_locked=False)


class SecretSessions:
    """Says which session a client secret opens."""

    def __init__(
        self,
        agents: AgentBook,
        unavailable: Callable[[Agent], str | None],
        toolbox_for: Callable[[Agent], Toolbox],
        clock: Clock,
        ids: Ids,
    ) -> None:
        """`unavailable` says why an agent cannot be called, None if it can."""
        self._agents = agents
        self._unavailable = unavailable
        self._toolbox_for = toolbox_for
        self._clock = clock
        self._ids = ids

    def session_for(self, requested: JsonObject) -> SecretSession:
        """The session that a client secret for this requested session opens. Raises WireError naming the field."""
        if "type" in requested:  # checked first: for another type, naming an agent would not help
            fields.one_of(requested["type"], "session.type", ("realtime",))
        agent = self._agent_for(requested.get("model"))
        session = session_with(agent, self._toolbox_for(agent), self._ids.new("sess"), UNKNOWN_CALLER, self._clock)
        session = with_defaults(session, agent, requested)
        defaults = settable_fields(requested, agent.client_may_set)
        return SecretSession(agent.name, defaults or None, without_agent_fields(session.as_client_sees()))

    def _agent_for(self, wanted: Json) -> Agent:
        """The agent that is named; where none is, the only one that can be called."""
        path = "session.model"
        if wanted is None:
            callable_now = [agent for agent in self._agents.all() if self._unavailable(agent) is None]
            if len(callable_now) == 1:
                return callable_now[0]
            raise fields.missing(path)
        agent = self._agents.get(fields.name(wanted, path))
        if agent is None:
            raise WireError("There is no such agent.", code="model_not_found", param=path)
        return agent
