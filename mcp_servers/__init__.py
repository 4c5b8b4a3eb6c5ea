"""Ready MCP servers, one folder each, runnable alone; none imports from the gateway's packages."""
