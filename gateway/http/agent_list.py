"""The agents as the API shows them: whether each can be called, and which of its tool servers do not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.http.shapes import AgentShape, ToolServerShape
from sessions.agent import Agent


def shown_agents(
    agents: Iterable[Agent], unavailable: Callable[[Agent], str | None], problem: Callable[[str], str | None]
) -> list[AgentShape]:
    """The shapes of the agents, in their order.

    `unavailable` gives the reason why an agent cannot be called, `problem` the reason why a tool server does not
    answer; both give None where there is none.
    """
    found = []
    for agent in agents:
        reason = unavailable(agent)
        found.append(
            AgentShape(
                name=agent.name,
                description=agent.description,
                model=str(agent.model),
                version=agent.version,
                available=reason is None,
                reason=reason,
                tool_servers_down=_servers_down(agent, problem),
            )
        )
    return found


def _servers_down(agent: Agent, problem: Callable[[str], str | None]) -> list[ToolServerShape]:
    servers = dict.fromkeys(grant.server for grant in agent.tools if grant.server is not None)
    problems = {server: problem(server) for server in servers}
    return [ToolServerShape(server=server, reason=why) for server, why in problems.items() if why is not None]
