"""Python functions as tools: those that `@tool` marks in plugin files, and the built-in ones.

The schema comes from the type hints and the docstring. A parameter annotated `ToolContext` receives the call and is not
shown to the model. A plain `def` runs in a thread (`function_runs.py`). `raise ToolFailed("words for the model")`
refuses; any other exception is logged with its type and place, and the model only reads that the tool failed.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn, cast, get_args, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, PydanticUserError, ValidationError, create_model

from gateway.guard import Boundary, cause_of
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.contract import tool as tool  # Plugins written before `patchbay` was importable take it from here.
from gateway.tools.function_runs import PROCESS
from gateway.tools.returned import DID_NOT_WORK, is_large, to_result
from sessions.errors import ToolFailed
from sessions.keys import COLLECT_KEYS, DEFAULT_WAIT_S, MAX_COUNT, MAX_WAIT_S, MIN_WAIT_S, NO_TERMINATOR
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call. `run` takes the parsed arguments and raises ToolFailed to refuse."""

    name: str
    description: str
    parameters: JsonObject
    run: Callable[[JsonObject, ToolContext], Awaitable[ToolResult]]

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(self.name, self.description, self.parameters)


def from_function(function: Callable[..., Any]) -> FunctionTool:
    """Make a tool from a function, its type hints and its docstring. Raises TypeError where one of these is wrong."""
    name = function.__name__
    if not TOOL_NAME.fullmatch(name):
        raise TypeError(f"{name!r} cannot be a tool's name: use letters, digits, - and _, at most 64")
    description, notes = _docstring(inspect.getdoc(function) or "")
    if not description:
        raise TypeError(f"{name} needs a docstring: the model chooses tools by it")
    arguments, context_name = _arguments(function, notes)
    return FunctionTool(
        name, description, _schema(arguments.model_json_schema()), partial(_run, function, arguments, context_name)
    )


def _arguments(function: Callable[..., Any], notes: dict[str, str]) -> tuple[type[BaseModel], str | None]:
    """A model that validates the arguments, and the name of the parameter for the context, if there is one."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{function.__name__} has a type hint that cannot be resolved: {error}") from error
    fields: dict[str, Any] = {}
    context_name: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"{function.__name__} takes arguments by name only; {parameter} cannot be one")
        hint = hints.get(parameter.name)
        if hint is None:
            raise TypeError(f"{function.__name__} needs a type hint for {parameter.name}")
        if hint is ToolContext:
            context_name = parameter.name
            continue
        if ToolContext in get_args(hint):
            raise TypeError(f"{function.__name__} must annotate {parameter.name} as ToolContext alone, without None")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hint, Field(default, description=notes.get(parameter.name)))
    try:
        model = cast("type[BaseModel]", create_model(function.__name__, **fields))
        model.model_json_schema()
    except (PydanticUserError, NameError) as error:
        raise TypeError(f"{function.__name__} has a parameter whose type has no JSON schema: {error}") from error
    return model, context_name


async def _run(
    function: Callable[..., Any],
    arguments_model: type[BaseModel],
    context_name: str | None,
    arguments: JsonObject,
    context: ToolContext,
) -> ToolResult:
    name = function.__name__
    with Boundary(partial(_report_fault, name)):
        try:
            checked = arguments_model.model_validate(arguments)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ToolFailed(f"{name} cannot take these arguments: {wrong}") from error
        # Pass the validated values themselves, not a dump of them, so that a nested model stays a model.
        given: dict[str, Any] = {field: getattr(checked, field) for field in arguments_model.model_fields}
        if context_name is not None:
            given[context_name] = context
        called = function if inspect.iscoroutinefunction(function) else partial(_call_plain, name, function)
        returned = await PROCESS.run(context.agent, name, called, given)
        if not is_large(returned):
            return to_result(name, returned)
        return cast("ToolResult", await PROCESS.run(context.agent, name, partial(to_result, name, returned), {}))
    raise AssertionError("the boundary's report raises")


def _call_plain(name: str, function: Callable[..., Any], **given: Any) -> object:
    """Call a plain function and convert its result in the same thread. An awaitable result is returned as it is."""
    returned = function(**given)
    return returned if inspect.isawaitable(returned) else to_result(name, returned)


def _report_fault(name: str, fault: BaseException) -> NoReturn:
    """Turn what the user's code raised into a failure of this tool call only. Raises ToolFailed."""
    if isinstance(fault, ToolFailed) and isinstance(fault.message, str) and isinstance(fault.kind, str):
        raise fault
    # The message may hold the caller's words, so only the type and the place are logged.
    cause = cause_of(fault)
    log.error("function tool failed", extra={"tool": name, **cause})
    raise ToolFailed(DID_NOT_WORK) from fault


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description (all before the first section) and a note for each parameter under `Args:` or `:param x:`."""
    notes: dict[str, str] = {}
    description: list[str] = []
    section = current = ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):", line.strip()):
            section = heading[1]
        elif param := re.match(r":param\s+(?:\S+\s+)?(\w+):\s*(.*)", line.strip()):
            section, current = ":param", param[1]
            notes[current] = param[2]
        elif section in ("Args", "Arguments", "Parameters") and (
            arg := re.match(r"(\s+)(\w+)(?:\s*\([^)]*\))?:\s*(.*)", line)
        ):
            current = arg[2]
            notes[current] = arg[3]
        elif section in ("Args", "Arguments", "Parameters") and current and line.strip():
            notes[current] += f" {line.strip()}"
        elif not section and not line.strip().startswith(":"):
            description.append(line.rstrip())
    return re.sub(r"\s*\n\s*", " ", "\n".join(description).strip()), notes


def _schema(node: Any) -> Any:
    """The schema without the titles that pydantic derives from names: they only cost tokens."""
    if isinstance(node, list):
        return [_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _schema(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else (value if key in ("default", "const", "enum", "examples") else _schema(value))
        for key, value in node.items()
        if key != "title"
    }


async def _hang_up(arguments: JsonObject, context: ToolContext) -> ToolResult:
    return ToolResult("The call will end as soon as you have said goodbye. Say goodbye now, briefly.", None, "hang_up")


async def _current_time(arguments: JsonObject, context: ToolContext) -> ToolResult:
    zone = arguments.get("timezone", "")
    if not isinstance(zone, str):
        raise ToolFailed("timezone must be a text such as Europe/Berlin.")
    moment = datetime.fromtimestamp(context.clock.wall_s(), tz=UTC)
    try:
        local = moment.astimezone(ZoneInfo(zone) if zone else None)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolFailed(f"There is no timezone {zone[:40]!r}; use a name such as Europe/Berlin.") from error
    place = f" in {zone}" if zone else ""
    return ToolResult(f"It is {local:%H:%M} on {local:%A}, {local.day} {local:%B %Y}{place}.", None, None)


async def _collect_digits(arguments: JsonObject, context: ToolContext) -> ToolResult:
    # On a call whose caller can press keys, the call itself takes this tool: see `sessions/key_side.py`.
    raise ToolFailed("The caller cannot press keys on this call.")


def _text_parameters(**notes: str) -> JsonObject:
    properties = {name: {"type": "string", "description": note} for name, note in notes.items()}
    return {"type": "object", "properties": properties}


COLLECT_PARAMETERS: JsonObject = {
    "type": "object",
    "properties": {
        "count": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_COUNT,
            "description": "How many digits to wait for; leave it out if it is not known",
        },
        "terminator": {
            "type": "string",
            "enum": ["#", "*", NO_TERMINATOR],
            "description": "The key that ends the entry; leave it out for the usual one",
        },
        "timeout": {
            "type": "number",
            "minimum": MIN_WAIT_S,
            "maximum": MAX_WAIT_S,
            "description": f"How many seconds to wait for each digit; {DEFAULT_WAIT_S:g} if it is left out",
        },
    },
}

BUILT_IN = (
    FunctionTool(
        "hang_up",
        "End the call. Use it when the caller says goodbye or needs nothing more; the call ends after your next words.",
        _text_parameters(),
        _hang_up,
    ),
    FunctionTool(
        "current_time",
        "The current date and time.",
        _text_parameters(timezone="An IANA timezone such as Europe/Berlin; empty for the server's own timezone"),
        _current_time,
    ),
    FunctionTool(
        COLLECT_KEYS,
        "Wait for digits that the caller types on the telephone's keys. Ask for them first, then call this in the same"
        " answer. The result has the digits, and why it ended: count, terminator, timeout or caller_spoke.",
        COLLECT_PARAMETERS,
        _collect_digits,
    ),
)
