"""The tools of a session that a model refuses because of one of them: which, and the session without it.

A refusal names it by its place, `session.tools[2].parameters`; compatible services leave `session.` out, write the
place behind a dot, or give the tool's name there. Source: OpenAI Realtime API reference, `error.param`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sessions.ports import Json, JsonObject

_TOOL = re.compile(r"(?:session\.)?tools[.\[]['\"]?([A-Za-z0-9_-]{1,64})(?:['\"]?\])?(?:[.\[].*)?", re.DOTALL)


def refused_tool(session: JsonObject, param: str) -> JsonObject | None:
    """The tool of this session that `param` is about; None where it is about no tool, or one that is not there."""
    found = _TOOL.fullmatch(param)
    if found is None:
        return None
    tools, key = _tools(session), found[1]
    if key.isdecimal() and int(key) < len(tools):
        return tools[int(key)]
    return next((tool for tool in tools if tool.get("name") == key), None)


def without_tools(session: JsonObject, refused: Sequence[Json]) -> JsonObject:
    """A session less these tools, and less a choice that needs one of them; the same where it has none of them."""
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
