"""The OpenAI Realtime protocol (GA), without I/O: the shapes of messages, and in `server/` its server half."""
