"""Models that speak the OpenAI Realtime protocol, each reached over a socket."""
