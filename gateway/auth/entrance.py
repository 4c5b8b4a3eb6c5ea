"""The order at the entrance: TLS or loopback, host and origin, credential, quota, agent policy.

Only then is anything opened. One decision serves media sockets and HTTP routes alike. It awaits nothing, so between its
answer and the next step no other request can take the last place. Credentials are neither logged nor echoed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.auth.client_secrets import ClientSecrets, SecretExpired, SecretRefused
from gateway.auth.keys import CLIENT_SECRET_PREFIX, DEFAULT_TENANT, ApiKeys
from gateway.auth.origins import OriginRules, check_origin
from gateway.auth.requests import Refusal, UpgradeRequest
from sessions.ports import Clock, JsonObject

SUBPROTOCOL_KEY_PREFIX = "openai-insecure-api-key."

_NO_KEY = Refusal(401, "missing_api_key", "This server asks for an API key.")
_BAD_KEY = Refusal(401, "invalid_api_key", "The API key is not known here.")
_TWO_KEYS = Refusal(400, "ambiguous_credentials", "The request holds two different credentials.")
_BAD_SECRET = Refusal(401, "invalid_client_secret", "The client secret is not valid.")
_OLD_SECRET = Refusal(401, "client_secret_expired", "The client secret has expired.")
_KEY_ONLY = Refusal(403, "api_key_required", "A client secret does not open this; use an API key.")
_OTHER_AGENT = Refusal(403, "agent_not_allowed", "The client secret is for another agent.")
_BETA = Refusal(
    400, "beta_api_shape_disabled", "The beta Realtime API is not spoken here; leave out the OpenAI-Beta header."
)
_FULL = Refusal(503, "server_full", "All lines are taken; try again soon.", retry_after_s=5)
_TENANT_FULL = Refusal(429, "too_many_calls", "This account has as many live calls as it may have.", retry_after_s=5)


class KeyKind(StrEnum):
    """What a caller showed at the entrance."""

    API_KEY = "api_key"
    CLIENT_SECRET = "client_secret"  # noqa: S105 - a name, not a secret
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let in. `agent` and `session_defaults` come from a client secret; `agent` None: any of the tenant's."""

    tenant: str
    key_kind: KeyKind
    agent: str | None
    session_defaults: JsonObject | None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many live calls there are, and may be, in this process and for one tenant."""

    live_calls: Callable[[], int]
    tenant_calls: Callable[[str], int]
    max_calls: int
    max_tenant_calls: int

    def refuse(self, tenant: str) -> Refusal | None:
        """Whether one more call of this tenant is one too many."""
        if self.live_calls() >= self.max_calls:
            return _FULL
        return _TENANT_FULL if self.tenant_calls(tenant) >= self.max_tenant_calls else None


def find_credentials(request: UpgradeRequest) -> frozenset[str]:
    """Every different credential in the request: bearer token, `api-key` header, and the browsers' subprotocol."""
    found = {value for value in request.headers.all("api-key") if value}
    for value in request.headers.all("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            found.add(token.strip())
    for offered in request.subprotocols:
        if offered.startswith(SUBPROTOCOL_KEY_PREFIX):
            found.add(offered.removeprefix(SUBPROTOCOL_KEY_PREFIX))
    return frozenset(found)


def asks_for_beta(request: UpgradeRequest) -> bool:
    """Whether a client expects the Realtime protocol's beta shapes."""
    offered = ",".join(request.headers.all("openai-beta")).lower().split(",")
    return any(part.strip() == "realtime=v1" for part in offered)


class Entrance:
    """Decides who comes in. Without configured keys everybody on this machine does, as the default tenant."""

    def __init__(self, rules: OriginRules, keys: ApiKeys, secrets: ClientSecrets, clock: Clock) -> None:
        self._rules = rules
        self._keys = keys
        self._secrets = secrets
        self._clock = clock

    def let_in(self, request: UpgradeRequest, *, client_secrets: bool) -> Caller | Refusal:
        """The first half: private line, host, origin, credential. For HTTP routes this is all.

        `client_secrets` says whether one opens this door (calls: yes; minting more of them, reading records: no).
        """
        request, refusal = check_origin(request, self._rules)
        if refusal is not None:
            return refusal
        caller = self._identify(find_credentials(request))
        if isinstance(caller, Caller) and caller.key_kind is KeyKind.CLIENT_SECRET and not client_secrets:
            return _KEY_ONLY
        return caller

    def admit_call(
        self,
        request: UpgradeRequest,
        agent: str | None,
        quota: Quota,
        policy: Callable[[Caller, str | None], Refusal | None],
    ) -> Caller | Refusal:
        """All of it, for a call to `agent` (None: the request names none).

        `policy` has the last word: whether this agent exists, is this tenant's and can be called. It gets the agent of
        the client secret where the request names none.
        """
        caller = self.let_in(request, client_secrets=True)
        if isinstance(caller, Refusal):
            return caller
        return self.admit_known(caller, request, agent, quota, policy)

    def admit_known(
        self,
        caller: Caller,
        request: UpgradeRequest,
        agent: str | None,
        quota: Quota,
        policy: Callable[[Caller, str | None], Refusal | None],
    ) -> Caller | Refusal:
        """The second half, for callers known by other means too (a carrier's signature): quota, then agent policy."""
        if asks_for_beta(request):
            return _BETA
        refusal = quota.refuse(caller.tenant)
        if refusal is None and caller.agent is not None and agent not in (None, caller.agent):
            refusal = _OTHER_AGENT
        return refusal or policy(caller, agent or caller.agent) or caller

    def _identify(self, found: frozenset[str]) -> Caller | Refusal:
        if len(found) > 1:
            return _TWO_KEYS
        for value in found:
            if value.startswith(CLIENT_SECRET_PREFIX):
                return self._verify(value)
        if not self._keys:
            # SDKs insist on sending some key: where none is asked for, any will do.
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
