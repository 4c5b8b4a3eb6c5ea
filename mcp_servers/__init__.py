"""MCP servers that are ready to use, one folder each. Each runs alone and does not import the gateway's packages."""
