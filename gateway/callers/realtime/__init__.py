"""Callers that speak the OpenAI Realtime protocol: a pure codec and the socket's thin shell."""
