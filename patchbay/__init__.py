"""The names that a plugin file imports: everything else in Patchbay may change without notice.

    from patchbay import ToolContext, ToolFailed, ToolResult, tool

    @tool
    async def opening_hours(day: str) -> str:
        \"\"\"When the restaurant is open.

        Args:
            day: A weekday.
        \"\"\"
        return "From noon to ten."

A tool returns a text, None, any value that JSON can carry, or a `ToolResult`. It refuses with
`raise ToolFailed("words for the model")`. A parameter annotated `ToolContext` receives the call. See `docs/tools.md`.
"""

from gateway.tools.contract import ToolContext, ToolResult, tool
from sessions.errors import ToolFailed

__all__ = ["ToolContext", "ToolFailed", "ToolResult", "tool"]
