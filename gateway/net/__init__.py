"""Sockets: one port for HTTP and WebSocket, the sockets that legs use, and outgoing connections."""
