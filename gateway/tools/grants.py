"""Checks whether an agent's tools can exist, as far as that is known before any server is connected.

A server may be down when Patchbay starts, so it is not asked for its list of tools; the names under an agent's `allow:`
are taken as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from gateway.agents.files import AgentProblem
from gateway.tools.toolbox import names_of
from sessions.agent import Agent, ToolGrant, ToolRule
from sessions.ports import Json


class GrantCheck:
    """Checks an agent's grants, and the tool calls in its `offline:` rules, against what this process has."""

    def __init__(self, servers: Collection[str], functions: Collection[str], config: Path) -> None:
        """`servers`: those in the MCP configuration file `config`; `functions`: the built-in ones and the plugins."""
        self._servers = servers
        self._functions = functions
        self._config = config

    def check(self, agent: Agent) -> None:
        """Raises AgentProblem for a tool that no call could have."""
        for at, grant in enumerate(agent.tools):
            self._check_grant(grant, f"tools[{at}]")
        if agent.model.kind == "local" and agent.offline is not None:
            _check_rules(agent, agent.offline.get("rules"))

    def _check_grant(self, grant: ToolGrant, field: str) -> None:
        if grant.function is not None:
            if grant.function not in self._functions:
                raise AgentProblem(
                    f"{field}.function",
                    f"there is no function tool {grant.function!r}; there are {_comma_list(self._functions)}",
                )
        elif grant.server not in self._servers:
            known = f"there are {_comma_list(self._servers)}" if self._servers else "there are none"
            raise AgentProblem(
                f"{field}.mcp", f"there is no MCP server {grant.server!r} switched on in {self._config}; {known}"
            )


def _check_rules(agent: Agent, rules: Json) -> None:
    granted = _granted(agent)
    if granted is None or not isinstance(rules, list):
        return
    for at, rule in enumerate(rules):
        call = rule.get("call") if isinstance(rule, Mapping) else None
        tool = call.get("tool") if isinstance(call, Mapping) else None
        if isinstance(tool, str) and tool not in granted:
            has = f"it has {_comma_list(granted)}" if granted else "it has none"
            raise AgentProblem(
                f"offline.rules[{at}].call.tool", f"the agent has no tool {tool!r}; grant it under `tools`: {has}"
            )


def _granted(agent: Agent) -> frozenset[str] | None:
    """The names by which the agent's model knows its tools; None where they are unknown and may be any."""
    if "tools" in agent.client_may_set:
        return None
    rules: list[ToolRule] = []
    for grant in agent.tools:
        if grant.function is not None:
            rules.append(ToolRule(None, grant.function))
        elif grant.only is None:  # all tools of the server, whichever they are
            return None
        else:
            rules.extend(grant.only)
    return names_of(rules)


def _comma_list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
