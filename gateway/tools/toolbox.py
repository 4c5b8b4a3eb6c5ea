"""The tools of one call: what the agent was granted, how the model sees it, and how each tool is run."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from gateway.tools.connection import TRACEPARENT
from gateway.tools.contract import ToolContext, ToolResult, cut
from gateway.tools.functions import TOOL_NAME, FunctionTool
from gateway.tools.schemas import fit_schema
from sessions.agent import ToolGrant, ToolRule
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

MAX_ARGUMENTS_BYTES = 16 * 1024
MAX_RESULT_BYTES = 16 * 1024
_ANY_OBJECT: JsonObject = {"type": "object", "properties": {}}


class McpTools(Protocol):
    """The part of `McpPool` that a toolbox uses."""

    def tools(self, server: str) -> tuple[ToolSpec, ...]:
        """A server's tools, as last listed."""
        ...

    def problem(self, server: str) -> str | None:
        """Why a server is not connected; None if it is."""
        ...

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        """Call a tool within the deadline. Raises ToolFailed."""
        ...


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tool that the agent was granted, under the name that its server or file gives it."""

    rule: ToolRule
    spec: ToolSpec


class Toolbox:
    """The tools of one agent for one call, as they were when the call began."""

    def __init__(
        self,
        grants: Iterable[ToolGrant],
        mcp: McpTools,
        functions: Mapping[str, FunctionTool],
        *,
        max_arguments_bytes: int = MAX_ARGUMENTS_BYTES,
        max_result_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        self._mcp = mcp
        self._functions = functions
        self._max_arguments_bytes = max_arguments_bytes
        self._max_result_bytes = max_result_bytes
        self._problems: list[str] = []
        # Whether a granted server is not connected and its tools are unknown.
        self._tools_unknown = False
        self._offers = _by_model_name([offer for grant in grants for offer in self._granted(grant)])

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model sees them, in the order of the grants."""
        return tuple(
            ToolSpec(name, offer.spec.description, offer.spec.parameters) for name, offer in self._offers.items()
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What the agent was granted but does not have, and why; for operators."""
        return tuple(self._problems)

    def rule(self, name: str) -> ToolRule | None:
        """The rule of the tool that the model knows by this name. The rule holds the tool's original name."""
        offer = self._offers.get(name)
        return offer.rule if offer is not None else None

    async def run(self, name: str, arguments_json: str, *, context: ToolContext) -> ToolResult:
        """Run a tool within its deadline; returns at once when cancelled. Raises ToolFailed with words for it."""
        offer = self._offers.get(name)
        if offer is None:
            if self._tools_unknown:  # the tool may belong to a server whose tools were never listed
                raise ToolFailed("The service cannot be reached at the moment. It was not done.", kind="http_error")
            raise ToolFailed(f"There is no tool {name[:64]}.", kind="unknown_tool")
        arguments = self._parsed(name, arguments_json)
        rule = offer.rule
        if rule.server is not None:
            TRACEPARENT.set(context.traceparent)
            return await self._mcp.call(rule.server, rule.name, arguments, rule.deadline_ms)
        try:
            async with asyncio.timeout(rule.deadline_ms / 1000):
                result = await self._functions[rule.name].run(arguments, context)
        except TimeoutError:
            raise ToolFailed("That took too long.", kind="timeout") from None
        return ToolResult(cut(result.text, self._max_result_bytes), result.error, result.then)

    def _parsed(self, name: str, arguments_json: str) -> JsonObject:
        size = len(arguments_json.encode(errors="replace"))
        if size > self._max_arguments_bytes:
            raise ToolFailed(
                f"The arguments of {name} have {size} bytes; at most {self._max_arguments_bytes} are accepted."
            )
        if not arguments_json.strip():  # some models send an empty text to a tool without parameters
            return {}
        try:
            arguments = orjson.loads(arguments_json)
        except orjson.JSONDecodeError as error:
            raise ToolFailed(f"The arguments of {name} are not valid JSON: {error}") from error
        if not isinstance(arguments, dict):
            raise ToolFailed(f"The arguments of {name} must be a JSON object.")
        return arguments

    def _granted(self, grant: ToolGrant) -> Iterator[_Offer]:
        if grant.function is not None:
            function = self._functions.get(grant.function)
            if function is None:
                self._problems.append(f"there is no function tool {grant.function}")
                return
            rule = grant.only[0] if grant.only else ToolRule(None, grant.function, grant.deadline_ms)
            yield _Offer(rule, function.spec)
            return
        server = grant.server or ""
        offered = {spec.name: spec for spec in self._mcp.tools(server)}
        if (problem := self._mcp.problem(server)) is not None:
            self._tools_unknown = self._tools_unknown or not offered
            known = "the call has its last known tools" if offered else "the call has none of its tools"
            self._problems.append(f"tool server {server} is not connected, {known}: {problem}")
        if grant.only is None:
            for spec in offered.values():
                yield _Offer(ToolRule(server, spec.name, grant.deadline_ms), spec)
            return
        for rule in grant.only:
            if rule.name in offered:
                yield _Offer(rule, offered[rule.name])
            elif offered:
                self._problems.append(f"tool server {server} has no tool {rule.name}")


def names_of(rules: Iterable[ToolRule]) -> frozenset[str]:
    """The names by which a model knows these tools once all their servers are connected."""
    return frozenset(_by_model_name([_Offer(rule, ToolSpec(rule.name, "", _ANY_OBJECT)) for rule in rules]))


def _by_model_name(offers: list[_Offer]) -> dict[str, _Offer]:
    """Names that models accept. Where several servers or functions share a name, the server's label is put in front."""
    # The same tool granted twice is one tool, and the first grant's rule applies.
    own = {(offer.rule.server, offer.spec.name): offer for offer in reversed(offers)}
    offers = [offer for offer in offers if own[offer.rule.server, offer.spec.name] is offer]
    times = Counter(_model_name(offer.spec.name) for offer in offers)
    named: dict[str, _Offer] = {}
    for offer in offers:
        name = _model_name(offer.spec.name)
        if times[name] > 1 and offer.rule.server is not None:
            name = _model_name(f"{offer.rule.server}__{offer.spec.name}")
        named.setdefault(name, _with_fit_schema(offer))
    return named


def _model_name(name: str) -> str:
    """The name itself where models accept it, else accepted characters and a digest that keeps it distinct."""
    if TOOL_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:57]}_{digest}"


def _with_fit_schema(offer: _Offer) -> _Offer:
    fit = fit_schema(offer.spec.parameters)
    about = f"{offer.spec.description} {fit.note}".strip()
    return _Offer(offer.rule, ToolSpec(offer.spec.name, about, fit.parameters))
