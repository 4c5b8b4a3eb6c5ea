"""The entrance of a gateway without API keys, for carriers."""

from __future__ import annotations

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, read_public
from sessions.ports import Clock


def open_entrance(clock: Clock, public_url: str | None = None) -> Entrance:
    """It lets this machine in, and carriers that use the public address."""
    public = None if public_url is None else read_public(public_url)
    return Entrance(OriginRules(credentials=False, public=public), read_keys(()), ClientSecrets(b"k" * 32), clock)
