"""The HTTP faces under `/api/v1`, and the client secrets under `/v1/realtime`."""
