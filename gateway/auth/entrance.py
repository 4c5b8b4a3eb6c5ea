"""The order at the entrance: TLS or loopback, host and origin, credential; for calls then quota and agent policy.

Only then is anything opened. Media sockets and HTTP routes share the first half, `Entrance.let_in`; calls of every
protocol share the second, `admit_call`. Neither awaits anything, so no other request can take the last place between
the answer and the next step. Credentials are neither logged nor repeated in an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.auth.client_secrets import ClientSecrets, SecretExpired, SecretRefused
from gateway.auth.keys import CLIENT_SECRET_PREFIX, DEFAULT_TENANT, ApiKeys
from gateway.auth.origins import OriginRules, check_origin
from gateway.auth.requests import Refusal, UpgradeRequest
from sessions.ports import Clock, JsonObject

SUBPROTOCOL_KEY_PREFIX = "openai-insecure-api-key."

_NO_KEY = Refusal(401, "missing_api_key", "This server requires an API key.")
_BAD_KEY = Refusal(401, "invalid_api_key", "This server does not know the API key.")
_TWO_KEYS = Refusal(400, "ambiguous_credentials", "The request contains two different credentials.")
_BAD_SECRET = Refusal(401, "invalid_client_secret", "The client secret is not valid.")
_OLD_SECRET = Refusal(401, "client_secret_expired", "The client secret has expired.")
_KEY_ONLY = Refusal(403, "api_key_required", "A client secret is not enough here; use an API key.")
_OTHER_AGENT = Refusal(403, "agent_not_allowed", "The client secret is for another agent.")
_FULL = Refusal(503, "server_full", "This server carries as many calls as it may; try again soon.", retry_after_s=5)
_TENANT_FULL = Refusal(429, "too_many_calls", "This account has as many live calls as it may have.", retry_after_s=5)


class KeyKind(StrEnum):
    """The kind of credential that a caller has shown."""

    API_KEY = "api_key"
    CLIENT_SECRET = "client_secret"  # noqa: S105 - a name, not a secret
    CARRIER = "carrier"  # what a telephone carrier or exchange has shown
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let in. `agent` and `session_defaults` come from a client secret; without `agent` any of the tenant's."""

    tenant: str
    key_kind: KeyKind
    agent: str | None
    session_defaults: JsonObject | None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls there are, and how many there may be, in this process and for one tenant."""

    live_calls: Callable[[], int]
    tenant_calls: Callable[[str], int]
    max_calls: int
    max_tenant_calls: int

    def refuse(self, tenant: str) -> Refusal | None:
        """The refusal of one more call of this tenant; None where there is room for it."""
        if self.live_calls() >= self.max_calls:
            return _FULL
        return _TENANT_FULL if self.tenant_calls(tenant) >= self.max_tenant_calls else None


def find_credentials(request: UpgradeRequest) -> frozenset[str]:
    """All different credentials in the request: bearer token, `api-key` header, and subprotocol (from browsers)."""
    found = {value for value in request.headers.all("api-key") if value}
    for value in request.headers.all("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            found.add(token.strip())
    for offered in request.subprotocols:
        if offered.startswith(SUBPROTOCOL_KEY_PREFIX):
            found.add(offered.removeprefix(SUBPROTOCOL_KEY_PREFIX))
    return frozenset(found)


def admit_call(
    caller: Caller, agent: str | None, quota: Quota, policy: Callable[[Caller, str | None], Refusal | None]
) -> Refusal | None:
    """The second half of the entrance, for a call to `agent`: quota, then agent policy. None if the call may begin.

    `caller` is known from `Entrance.let_in`, or by other means such as a carrier's signature. `agent` is None where the
    request names none; then the agent of the caller's client secret counts. `policy` decides last: whether the agent
    exists, belongs to the tenant and can be called.
    """
    refusal = quota.refuse(caller.tenant)
    if refusal is None and caller.agent is not None and agent not in (None, caller.agent):
        refusal = _OTHER_AGENT
    return refusal or policy(caller, agent or caller.agent)


class Entrance:
    """Identifies who asks. Without configured keys everybody on this machine is the default tenant."""

    def __init__(self, rules: OriginRules, keys: ApiKeys, secrets: ClientSecrets, clock: Clock) -> None:
        self._rules = rules
        self._keys = keys
        self._secrets = secrets
        self._clock = clock

    def let_in(self, request: UpgradeRequest, *, client_secrets: bool) -> Caller | Refusal:
        """The first half of the entrance: TLS or loopback, host, origin, credential. For HTTP routes this is all.

        `client_secrets` says whether a client secret is taken: for calls it is; for minting more of them, or for
        reading records, it is not.
        """
        # Without keys the public address is for carriers only, whose requests show something else.
        _, refusal = check_origin(replace(request, hosts_public=False), self._rules)
        if refusal is not None:
            return refusal
        caller = self._identify(find_credentials(request))
        if isinstance(caller, Caller) and caller.key_kind is KeyKind.CLIENT_SECRET and not client_secrets:
            return _KEY_ONLY
        return caller

    def let_carrier_in(self, request: UpgradeRequest) -> UpgradeRequest | Refusal:
        """The first part of the entrance for carriers: TLS or loopback, host, and no page of another origin.

        Nothing else is checked. The carrier's own code goes on with its signature or token, then with the ticket, and
        then with `admit_call`. Returns the request as the trusted proxy nearest to the carrier received it.
        """
        request, refusal = check_origin(replace(request, hosts_public=True), self._rules)
        return refusal or request

    def _identify(self, found: frozenset[str]) -> Caller | Refusal:
        if len(found) > 1:
            return _TWO_KEYS
        for value in found:
            if value.startswith(CLIENT_SECRET_PREFIX):
                return self._verify(value)
        if not self._keys:
            # SDKs insist on sending some key, so where none is asked for, any one is taken.
            return Caller(DEFAULT_TENANT, KeyKind.NONE, None, None)
        for value in found:
            tenant = self._keys.tenant_of(value)
            return _BAD_KEY if tenant is None else Caller(tenant, KeyKind.API_KEY, None, None)
        return _NO_KEY

    def _verify(self, value: str) -> Caller | Refusal:
        try:
            secret = self._secrets.verify(value, self._clock.wall_s())
        except SecretExpired:
            return _OLD_SECRET
        except SecretRefused:
            return _BAD_SECRET
        return Caller(secret.tenant, KeyKind.CLIENT_SECRET, secret.agent, secret.session)
