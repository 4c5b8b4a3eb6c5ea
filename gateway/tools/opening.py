"""The MCP servers of one process, as the settings name them."""

from __future__ import annotations

import os

from gateway.config.settings import Settings
from gateway.tools.config import load_mcp_config
from gateway.tools.pool import McpPool


def make_pool(settings: Settings) -> McpPool:
    """The connections to the servers that the MCP file names; none is opened. Raises VoiceError for a bad file."""
    return McpPool(
        load_mcp_config(settings.mcp_config, os.environ),
        max_result_bytes=settings.max_tool_result_bytes,
        max_answer_bytes=settings.max_tool_answer_bytes,
    )
