from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.entrance import Caller, Entrance, KeyKind, Quota, admit_call, find_credentials
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules
from gateway.auth.requests import Refusal, UpgradeRequest, read_request

SECRETS = ClientSecrets(derive_signing_key(b"settings"))
FREE = Quota(lambda: 0, lambda tenant: 0, max_calls=1, max_tenant_calls=1)


class StoppedClock:
    def now_ms(self) -> int:
        return 0

    def wall_s(self) -> float:
        return 1_700_000_000.0


def entrance(*keys: str) -> Entrance:
    return Entrance(OriginRules(credentials=bool(keys)), read_keys(keys), SECRETS, StoppedClock())


def request(host: str = "localhost", **headers: str) -> UpgradeRequest:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    return read_request("/v1/realtime", b"model=a", raw, peer="127.0.0.1", secure=False)


def allow_all(caller: Caller, agent: str | None) -> Refusal | None:
    return None


def decide(
    entry: Entrance,
    upgrade: UpgradeRequest,
    agent: str | None = "a",
    quota: Quota = FREE,
    policy: Callable[[Caller, str | None], Refusal | None] = allow_all,
) -> Caller | Refusal:
    found = entry.let_in(upgrade, client_secrets=True)
    return found if isinstance(found, Refusal) else admit_call(found, agent, quota, policy) or found


def admit(entry: Entrance, upgrade: UpgradeRequest, agent: str | None = "a", quota: Quota = FREE) -> Caller | str:
    found = decide(entry, upgrade, agent, quota)
    return found.code if isinstance(found, Refusal) else found


def secret(agent: str | None = "a", life_s: int = 60, at_s: float = 1_700_000_000.0) -> str:
    return SECRETS.mint(tenant="acme", agent=agent, session={"voice": "marin"}, now_s=at_s, life_s=life_s)[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer k-1"},
        {"authorization": "bearer  k-1"},
        {"api_key": "k-1"},
        {"sec_websocket_protocol": "realtime, openai-insecure-api-key.k-1, openai-agents-sdk.1"},
        {"authorization": "Bearer k-1", "api_key": "k-1"},
    ],
)
def test_a_key_is_found_in_every_place_that_clients_use(headers: dict[str, str]) -> None:
    assert find_credentials(request(**headers)) == {"k-1"}
    assert admit(entrance("acme:k-1"), request(**headers)) == Caller("acme", KeyKind.API_KEY, None, None)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Basic azox"}, "missing_api_key"),
        ({"authorization": "Bearer "}, "missing_api_key"),
        ({"authorization": "Bearer k-2"}, "invalid_api_key"),
        ({"authorization": "Bearer k-1", "api_key": "k-2"}, "ambiguous_credentials"),
        ({"authorization": "Bearer ek_nonsense"}, "invalid_client_secret"),
    ],
)
def test_without_a_valid_key_nobody_is_admitted(headers: dict[str, str], code: str) -> None:
    assert admit(entrance("k-1"), request(**headers)) == code


def test_without_configured_keys_any_key_is_accepted() -> None:
    nobody = Caller("default", KeyKind.NONE, None, None)
    assert admit(entrance(), request()) == nobody
    assert admit(entrance(), request(authorization="Bearer whatever")) == nobody


@pytest.mark.parametrize("keys", [(), ("k-1",)])
def test_a_client_secret_brings_its_agent_and_defaults(keys: tuple[str, ...]) -> None:
    shown = request(authorization=f"Bearer {secret()}")
    granted = Caller("acme", KeyKind.CLIENT_SECRET, "a", {"voice": "marin"})
    assert admit(entrance(*keys), shown) == granted
    assert admit(entrance(*keys), shown, agent=None) == granted
    assert admit(entrance(*keys), shown, agent="b") == "agent_not_allowed"
    assert (
        admit(entrance(*keys), request(authorization=f"Bearer {secret(agent=None)}"), agent="b") != "agent_not_allowed"
    )


def test_an_expired_client_secret_is_refused_even_if_no_key_is_required() -> None:
    old = request(authorization=f"Bearer {secret(at_s=1_699_999_000.0)}")
    assert admit(entrance(), old) == "client_secret_expired"


def test_a_client_secret_is_valid_for_calls_only() -> None:
    shown = request(authorization=f"Bearer {secret()}")
    found = entrance("k-1").let_in(shown, client_secrets=False)
    assert isinstance(found, Refusal)
    assert found.code == "api_key_required"


def test_the_checks_are_made_in_order() -> None:
    calls: list[str] = []

    def live() -> int:
        calls.append("quota")
        return 0

    def policy(caller: Caller, agent: str | None) -> Refusal | None:
        calls.append(f"policy {caller.tenant} {agent}")
        return Refusal(404, "no_such_agent", "There is no such agent.")

    quota = Quota(live, lambda tenant: 0, 1, 1)
    entry = entrance("k-1")
    for headers in ({"host": "localhost", "origin": "http://evil"}, {"authorization": "Bearer k-2"}):
        assert isinstance(decide(entry, request(**headers), "a", quota, policy), Refusal)
        assert calls == []
    found = decide(entry, request(authorization="Bearer k-1"), "a", quota, policy)
    assert isinstance(found, Refusal)
    assert (found.code, calls) == ("no_such_agent", ["quota", "policy default a"])


def test_quotas() -> None:
    entry = entrance()
    assert admit(entry, request(), quota=Quota(lambda: 5, lambda tenant: 0, 5, 5)) == "server_full"
    assert admit(entry, request(), quota=Quota(lambda: 3, lambda tenant: 2, 5, 2)) == "too_many_calls"
    assert admit(entry, request(), quota=Quota(lambda: 4, lambda tenant: 1, 5, 2)) != "too_many_calls"


def test_a_wrong_host_comes_before_a_wrong_key() -> None:
    assert admit(entrance(), request(host="evil.example", authorization="Bearer ek_x")) == "host_not_allowed"


def test_no_refusal_repeats_the_credential() -> None:
    for shown in ("hush-key", "ek_hush"):
        found = decide(entrance("k-1"), request(authorization=f"Bearer {shown}"))
        assert isinstance(found, Refusal)
        assert b"hush" not in found.body()
        assert found.status == 401
        assert ("www-authenticate", "Bearer") in found.headers()
