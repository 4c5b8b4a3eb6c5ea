"""Table bookings for a small restaurant, as an MCP server: `python -m mcp_servers.bookings`."""
