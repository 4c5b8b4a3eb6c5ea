"""The setting `carriers`: one table for each carrier whose calls are taken. A carrier without a table has no routes.

Sources: the carriers' own documentation of their credentials: twilio.com, "Webhooks security"; signalwire.com, "Space
URL, Project ID and API token"; learn.microsoft.com, "Secure webhook endpoints and WebSocket connections" of Azure
Communication Services; docs.asterisk.org, "WebSocket channel driver".
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Collection, Iterator
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.auth.keys import DEFAULT_TENANT, check_tenant, fits_a_header
from gateway.auth.origins import is_loopback
from gateway.auth.requests import Network, read_proxies
from gateway.config.names import OWN_NAMES
from gateway.config.urls import read_plain_url
from gateway.config.values import PrivateUrl, Secret, Table

ACS_ISSUER = "https://acscallautomation.communication.azure.com"
ACS_OPENID = f"{ACS_ISSUER}/calling/.well-known/acsopenidconfiguration"
_LOOPBACK = ("127.0.0.0/8", "::1/128")


def _tenant(value: str) -> str:
    check_tenant(value)
    return value


def _user(value: str) -> str:
    if ":" in value or not value.isprintable():
        raise ValueError("must hold no colon and no control character, since Basic authentication cannot carry them")
    return value


def _media_url(value: str) -> str:
    read_plain_url(value, ("wss", "ws"))
    return value.rstrip("/")


def _bearer(value: SecretStr) -> SecretStr:
    if not fits_a_header(value.get_secret_value()):
        raise ValueError("must have visible ASCII characters only, as it is sent in a header")
    return value


def _access_key(value: SecretStr) -> SecretStr:
    try:
        fits = len(b64decode(value.get_secret_value(), validate=True)) >= 16
    except (binascii.Error, ValueError):
        fits = False
    if not fits:
        raise ValueError("must be a key of the resource, in base64 as the portal shows it")
    return value


def _guid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("must be the resource's immutable id, such as 01234567-89ab-cdef-0123-456789abcdef") from None


def _directory(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("must be a tenant's id at Entra, such as 01234567-89ab-cdef-0123-456789abcdef") from None


Tenant = Annotated[str, AfterValidator(_tenant)]
Name = Annotated[str, Field(min_length=1)]


class Carrier(Table):
    """What every carrier's table holds."""

    tenant: Tenant = Field(default=DEFAULT_TENANT, description="whose calls these are: a tenant with an API key")


class Asterisk(Carrier):
    """A PBX. `user` and `password` are those with which it dials the media socket; without them that socket is off."""

    user: Annotated[Name, AfterValidator(_user)] | None = None
    password: Secret | None = None
    media_url: Annotated[str, AfterValidator(_media_url)] | None = Field(
        default=None, description="ws:// or wss:// address of Asterisk's HTTP server, where the gateway dials /media/ID"
    )

    @model_validator(mode="after")
    def _whole(self) -> Asterisk:
        if (self.user is None) != (self.password is None):
            raise ValueError("needs user and password, or neither")
        return self


class Twilio(Carrier):
    """An account of Twilio; `auth_token` checks signatures and hangs up calls."""

    account_sid: Name
    auth_token: Secret
    signing_keys: dict[str, Secret] = Field(default={}, description="by the key's id: keys that sign with SHA-256")
    api_url: PrivateUrl = "https://api.twilio.com"

    def signing_key(self, key_id: str) -> str | None:
        """The signing key with this id; None for an unknown id.

        Letters may differ in size, because names in the environment lose theirs.
        """
        known = {name.casefold(): key.get_secret_value() for name, key in self.signing_keys.items()}
        return known.get(key_id.casefold())


class SignalWire(Carrier):
    """A project of SignalWire; it dials the media socket with `bearer_token`."""

    account_sid: Name = Field(description="the project's id")
    bearer_token: Annotated[Secret, AfterValidator(_bearer)]
    auth_token: Secret = Field(description="the project's API token: hangs up calls")
    signing_key: Secret | None = Field(default=None, description="signs webhooks; None: auth_token does")
    space_url: PrivateUrl | None = Field(default=None, description="None: a call is ended by its socket only")


class Acs(Carrier):
    """A resource of Azure Communication Services."""

    endpoint: PrivateUrl
    access_key: Annotated[Secret, AfterValidator(_access_key)] | None = Field(
        default=None, description="None: Microsoft Entra ID"
    )
    resource_id: Annotated[str, AfterValidator(_guid)] = Field(description="immutable id: the audience of its tokens")
    event_secret: Secret | None = Field(default=None, description="what a delivery header of Event Grid must hold")
    event_tenant: Annotated[str, AfterValidator(_directory)] | None = Field(
        default=None, description="Entra tenant whose tokens Event Grid may show instead of the secret"
    )
    event_audience: Name | None = Field(default=None, description="the audience of those tokens")
    marks: bool = Field(default=False, description="ask for marks in sent sound, which is a preview")
    openid_url: PrivateUrl = Field(default=ACS_OPENID, description="OpenID configuration, which names the key set")
    key_set_url: PrivateUrl | None = Field(default=None, description="None: as the OpenID configuration says")
    issuer: PrivateUrl = ACS_ISSUER

    @model_validator(mode="after")
    def _whole(self) -> Acs:
        if (self.event_tenant is None) != (self.event_audience is None):
            raise ValueError("needs event_tenant and event_audience, or neither")
        return self


class Carriers(Table):
    """The carriers whose calls are taken; None: that carrier has no routes."""

    asterisk: Asterisk | None = None
    twilio: Twilio | None = None
    signalwire: SignalWire | None = None
    acs: Acs | None = None

    def configured(self) -> dict[str, Carrier]:
        """The tables that are there, by the carrier's name."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: table for name, table in found.items() if table is not None}


def carrier_faults(carriers: Carriers, *, tenants: Collection[str], has_public_url: bool) -> Iterator[str]:
    """What the tables need of other settings, as `field: message`. `tenants`: those that have API keys."""
    allowed = sorted(tenants) or [DEFAULT_TENANT]
    no_url = f"needs the address at which the carrier reaches this server; set {OWN_NAMES['public_url']}"
    for name, table in carriers.configured().items():
        if table.tenant not in allowed:
            why = (
                f"no API key belongs to the tenant {table.tenant}"
                if tenants
                else "without API keys there is one tenant"
            )
            yield f"carriers.{name}.tenant: {why}; write {' or '.join(allowed)}"
        if name != "asterisk" and not has_public_url:
            yield f"carriers.{name}: {no_url}"


def audiosocket_faults(*, port: int | None, host: str, networks: Collection[str], has_asterisk: bool) -> Iterator[str]:
    """What the settings of AudioSocket need of each other, as `field: message`."""
    if port is None:
        return
    if not has_asterisk:
        yield "audiosocket_port: needs the table carriers.asterisk, such as asterisk: {tenant: default}"
    if not networks and not is_loopback(host):
        yield (
            f"audiosocket_host: AudioSocket has no password, so {host!r} needs the networks that may connect; set "
            f"{OWN_NAMES['audiosocket_networks']}, or {OWN_NAMES['audiosocket_host']} to 127.0.0.1"
        )


def audiosocket_peers(networks: Collection[str]) -> tuple[Network, ...]:
    """The networks whose machines may connect to AudioSocket's port: by default this machine only."""
    return read_proxies(networks or _LOOPBACK)
