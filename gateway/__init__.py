"""The server: sockets, legs, tools, settings and the wiring that turns them into running calls."""

__version__ = "0.1.0"
