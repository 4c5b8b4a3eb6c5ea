"""Finds the tool because of which a model refuses a session, and makes the session without that tool.

The refusal names the tool by its position, `session.tools[2].parameters`; compatible services leave `session.` out,
write the position behind a dot, or write the tool's name instead of the position.
Source: OpenAI Realtime API reference, `error.param`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sessions.ports import Json, JsonObject

_TOOL = re.compile(r"(?:session\.)?tools[.\[]['\"]?([A-Za-z0-9_-]{1,64})(?:['\"]?\])?(?:[.\[].*)?", re.DOTALL)


def refused_tool(session: JsonObject, param: str) -> JsonObject | None:
    """The tool of this session that `param` is about; None if there is no such tool."""
    found = _TOOL.fullmatch(param)
    if found is None:
        return None
    tools, key = _tools(session), found[1]
    if key.isdecimal() and int(key) < len(tools):
        return tools[int(key)]
    return next((tool for tool in tools if tool.get("name") == key), None)


def without_tools(session: JsonObject, refused: Sequence[Json]) -> JsonObject:
    """A session without these tools, and without a tool choice that needs one of them.

    The same object if the session has none of the tools.
    """
    tools = _tools(session)
    kept = [tool for tool in tools if tool not in refused]
    if len(kept) == len(tools):
        return session
    less: JsonObject = {**session, "tools": kept}
    choice = session.get("tool_choice")
    name = choice.get("name") if isinstance(choice, Mapping) else None
    unmet = name is not None and name not in {tool.get("name") for tool in kept}
    return {**less, "tool_choice": "auto"} if unmet or (choice == "required" and not kept) else less


def _tools(session: JsonObject) -> list[JsonObject]:
    tools = session.get("tools")
    return [tool for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, Sequence) else []
