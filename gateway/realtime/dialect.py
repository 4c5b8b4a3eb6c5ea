"""The Realtime protocol as a dialect: which messages that travel with events and commands are its own."""

from __future__ import annotations

from sessions.values import Wire

DIALECT = "realtime"


def own(wire: Wire | None) -> Wire | None:
    """The message, if there is one and it is of this protocol; one of another dialect cannot be sent on."""
    return wire if wire is not None and wire.dialect == DIALECT else None
