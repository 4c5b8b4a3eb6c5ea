"""What the settings decide about who may enter: where the server listens, hosts and origins, and the keys that sign."""

from __future__ import annotations

import os

from gateway.auth.keys import ApiKeys
from gateway.auth.origins import OriginRules, check_bind, read_public
from gateway.auth.requests import Network, read_proxies
from gateway.config.settings import Settings
from gateway.net.server import ServerOptions


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


def server_options(settings: Settings, proxies: tuple[Network, ...]) -> ServerOptions:
    """Where the server listens, and its limits; each of the `proxies` connects for many clients."""
    return ServerOptions(
        host=settings.host,
        port=settings.port,
        tls_cert=str(settings.tls_cert) if settings.tls_cert else None,
        tls_key=str(settings.tls_key) if settings.tls_key else None,
        drain_s=settings.drain_s,
        max_half_open=settings.max_half_open,
        max_address_half_open=settings.max_address_half_open,
        proxies=proxies,
    )
