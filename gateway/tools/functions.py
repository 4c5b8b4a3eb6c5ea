"""Python functions as tools: what `@tool` marks in the user's files, and the two that are built in.

    from gateway.tools.functions import tool

    @tool
    async def opening_hours(day: str) -> str:
        \"\"\"When the house is open.

        Args:
            day: A weekday.
        \"\"\"
        return "From noon to ten."

The schema comes from the type hints and the docstring. A parameter annotated `ToolContext` is filled in and not shown
to the model. A plain `def` runs in a thread (`function_runs.py`). `raise ToolFailed("words for the model")` refuses;
anything else that is raised is logged by its kind and place, and the model is told only that the tool failed.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn, TypeVar, cast, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, PydanticUserError, ValidationError, create_model

from gateway.guard import Boundary, innermost, place_of
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.function_runs import PROCESS
from gateway.tools.returned import DID_NOT_WORK, is_large, shown
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

log = logging.getLogger(__name__)

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MARK = "__patchbay_tool__"

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call. `run` takes the parsed arguments; it raises ToolFailed to refuse."""

    name: str
    description: str
    parameters: JsonObject
    run: Callable[[JsonObject, ToolContext], Awaitable[ToolResult]]

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(self.name, self.description, self.parameters)


def tool(function: AnyFunction) -> AnyFunction:
    """Mark a function in a plugin file as a tool; its name is the tool's name."""
    setattr(function, _MARK, True)
    return function


def is_marked(thing: object) -> bool:
    """Whether `@tool` marked this."""
    return callable(thing) and getattr(thing, _MARK, False) is True


def from_function(function: Callable[..., Any]) -> FunctionTool:
    """Make a tool of a function, by its type hints and docstring. Raises TypeError with what is wrong with it."""
    name = function.__name__
    if not TOOL_NAME.fullmatch(name):
        raise TypeError(f"{name!r} is no name for a tool: letters, digits, - and _, at most 64")
    about, notes = _docstring(inspect.getdoc(function) or "")
    if not about:
        raise TypeError(f"{name} needs a docstring: the model chooses tools by it")
    arguments, context_name = _arguments(function, notes)
    return FunctionTool(
        name, about, _schema(arguments.model_json_schema()), partial(_run, function, arguments, context_name)
    )


def _arguments(function: Callable[..., Any], notes: dict[str, str]) -> tuple[type[BaseModel], str | None]:
    """A model that validates the arguments, and the name of the parameter that takes the context, if any."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{function.__name__} has a type hint that cannot be resolved: {error}") from error
    fields: dict[str, Any] = {}
    context_name: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"{function.__name__} may only have named parameters; {parameter} is not one")
        hint = hints.get(parameter.name)
        if hint is None:
            raise TypeError(f"{function.__name__} needs a type hint for {parameter.name}")
        if hint is ToolContext:
            context_name = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hint, Field(default, description=notes.get(parameter.name)))
    try:
        model = cast("type[BaseModel]", create_model(function.__name__, **fields))
        model.model_json_schema()
    except (PydanticUserError, NameError) as error:
        raise TypeError(f"{function.__name__} has a parameter that JSON cannot carry: {error}") from error
    return model, context_name


async def _run(
    function: Callable[..., Any],
    arguments_model: type[BaseModel],
    context_name: str | None,
    arguments: JsonObject,
    context: ToolContext,
) -> ToolResult:
    name = function.__name__
    with Boundary(partial(_failed, name)):
        try:
            checked = arguments_model.model_validate(arguments)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ToolFailed(f"{name} cannot take these arguments: {wrong}") from error
        # The validated values themselves, not a dump of them: a nested model stays a model.
        given: dict[str, Any] = {field: getattr(checked, field) for field in arguments_model.model_fields}
        if context_name is not None:
            given[context_name] = context
        whole = function if inspect.iscoroutinefunction(function) else partial(_whole, name, function)
        returned = await PROCESS.run(context.agent, name, whole, given)
        if not is_large(returned):
            return shown(name, returned)
        return cast("ToolResult", await PROCESS.run(context.agent, name, partial(shown, name, returned), {}))
    raise AssertionError("the boundary's report raises")


def _whole(name: str, function: Callable[..., Any], **given: Any) -> object:
    """A plain function with what is made of its result, all in its own thread; a coroutine is left to others."""
    returned = function(**given)
    return returned if inspect.isawaitable(returned) else shown(name, returned)


def _failed(name: str, fault: BaseException) -> NoReturn:
    """What the user's code raised, as a failure of this tool call and of nothing else. Raises ToolFailed."""
    if isinstance(fault, ToolFailed) and isinstance(fault.message, str) and isinstance(fault.kind, str):
        raise fault
    # The message may hold what the caller said, so the log gets the kind and the place only.
    cause = {"kind": type(innermost(fault)).__name__, "place": place_of(fault)}
    log.error("function tool failed", extra={"tool": name, **cause})
    raise ToolFailed(DID_NOT_WORK) from fault


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description (all before the first section), and a note for each parameter under `Args:` or `:param x:`."""
    notes: dict[str, str] = {}
    about: list[str] = []
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
            about.append(line.rstrip())
    return re.sub(r"\s*\n\s*", " ", "\n".join(about).strip()), notes


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


def _texts(**notes: str) -> JsonObject:
    properties = {name: {"type": "string", "description": note} for name, note in notes.items()}
    return {"type": "object", "properties": properties}


BUILT_IN = (
    FunctionTool(
        "hang_up",
        "End the call. Use it when the caller says goodbye or needs nothing more; the call ends after your next words.",
        _texts(),
        _hang_up,
    ),
    FunctionTool(
        "current_time",
        "The current date and time.",
        _texts(timezone="An IANA timezone such as Europe/Berlin; empty for the house's own"),
        _current_time,
    ),
)
