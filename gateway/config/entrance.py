"""What the settings decide about who may enter: what client secrets and tickets are signed with, hosts and origins."""

from __future__ import annotations

import os

from gateway.auth.keys import ApiKeys
from gateway.auth.origins import OriginRules, check_bind, read_public
from gateway.auth.requests import read_proxies
from gateway.config.settings import Settings


def signing_material(settings: Settings, keys: ApiKeys) -> bytes:
    """What the keys that sign client secrets and tickets are derived from.

    It is the same in every process with the same settings. Without a configured secret and without API keys it is
    random, so that only this process accepts what it has signed.
    """
    if settings.client_secret_key is not None:
        return settings.client_secret_key.get_secret_value().encode()
    return keys.material() if keys else os.urandom(32)


def origin_rules(settings: Settings, keys: ApiKeys) -> OriginRules:
    """The rules for hosts and origins. Raises ValueError where the settings would let everybody in."""
    rules = OriginRules(
        credentials=bool(keys),
        allowed_origins=frozenset(settings.allowed_origins),
        proxies=read_proxies(settings.trusted_proxies),
        require_tls=settings.require_tls,
        public=None if settings.public_url is None else read_public(settings.public_url),
    )
    check_bind(settings.host, rules)
    return rules
