"""The addresses at which a carrier of this protocol reaches this server. Pure.

They are made of the configured public address, never of what a request's headers say, because signatures cover them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one carrier, whose name is the second part of each path."""

    public_url: str  # http or https; it may have a path, which a proxy in between takes away
    name: str

    @property
    def voice_path(self) -> str:
        """Where the carrier asks what to do with a new call."""
        return f"/telephony/{self.name}/voice"

    @property
    def status_path(self) -> str:
        """Where statuses of calls go. With one more segment, the key of a call, it is in our own TwiML."""
        return f"/telephony/{self.name}/status"

    @property
    def media_path(self) -> str:
        """Where media sockets are opened, with the ticket as one more segment."""
        return f"/telephony/{self.name}/media"

    def of_target(self, target: str) -> str:
        """The address of a request for `target`, its path and query as sent."""
        slash = "" if target.startswith("/") else "/"
        return f"{self.public_url.rstrip('/')}{slash}{target}"

    def socket_of_target(self, target: str) -> str:
        """The address of a WebSocket handshake for `target`."""
        return "ws" + self.of_target(target).removeprefix("http")

    def media(self, ticket: str) -> str:
        """The address of a media socket."""
        return self.socket_of_target(f"{self.media_path}/{ticket}")

    def status(self, key: str) -> str:
        """The address for statuses of the call with this key."""
        return self.of_target(f"{self.status_path}/{key}")
