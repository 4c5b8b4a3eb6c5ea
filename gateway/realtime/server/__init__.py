"""The server half of the Realtime protocol, without I/O: it makes a brain a server."""
