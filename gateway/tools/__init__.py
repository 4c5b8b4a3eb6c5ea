"""Tools of a call: Python functions and MCP servers, with deadlines, beside the sound."""
