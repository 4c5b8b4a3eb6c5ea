from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.origins import OriginRules, check_bind, check_origin, is_loopback
from gateway.auth.requests import UpgradeRequest, read_proxies, read_request

OPEN = OriginRules(credentials=False)
KEYED = OriginRules(credentials=True, allowed_origins=frozenset({"https://shop.example"}))


def request(
    host: str | None, origin: str | None = None, *, peer: str = "127.0.0.1", secure: bool = False, **more: Any
) -> UpgradeRequest:
    fields = {"host": host, "origin": origin, **{name.replace("_", "-"): value for name, value in more.items()}}
    raw = [(name.encode(), value.encode()) for name, value in fields.items() if value is not None]
    return read_request("/", b"", raw, peer=peer, secure=secure)


def code(sent: UpgradeRequest, rules: OriginRules) -> str | None:
    refusal = check_origin(sent, rules)[1]
    return refusal.code if refusal else None


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LocalHost"])
def test_loopback_names_are_accepted(host: str) -> None:
    assert code(request(host), OPEN) is None


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:8080@evil"),
        *("127.0.0.2", "a/localhost", "localhost:x", "localhost:99999", "[::1", "localhost#", "0.0.0.0", "localhost."),
    ],
)
def test_other_names_are_refused(host: str | None) -> None:
    assert code(request(host), OPEN) == "host_not_allowed"


@pytest.mark.parametrize(
    ("host", "origin", "secure"),
    [
        ("localhost:8080", "http://localhost:8080", False),
        ("localhost", "http://localhost:80", False),
        ("localhost", "https://localhost", True),
        ("127.0.0.1:8080", "HTTP://127.0.0.1:8080", False),
        ("[::1]:8080", "http://[::1]:8080", False),
    ],
)
def test_our_own_page_is_admitted(host: str, origin: str, secure: bool) -> None:
    assert code(request(host, origin, secure=secure), OPEN) is None


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "", "http://localhost:8081", "http://127.0.0.1:8080"),
        *("https://localhost:8080", "file://", "localhost:8080", "http://localhost:8080@evil.example"),
        "http://localhost:8080/",
    ],
)
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    assert code(request("localhost:8080", origin), OPEN) == "origin_not_allowed"


def test_without_credentials_other_machines_are_refused() -> None:
    assert code(request("localhost", peer="10.0.0.9"), OPEN) == "tls_required"
    assert code(request("localhost", peer="10.0.0.9", secure=True), OPEN) == "tls_required"


def test_without_credentials_allowed_origins_have_no_effect() -> None:
    rules = OriginRules(credentials=False, allowed_origins=frozenset({"*", "https://shop.example"}))
    assert code(request("localhost", "https://shop.example"), rules) == "origin_not_allowed"


def test_with_credentials_allowed_origins_and_any_host_are_admitted() -> None:
    def ask(origin: str | None, rules: OriginRules = KEYED) -> str | None:
        return code(request("gw.example", origin, peer="10.0.0.9", secure=True), rules)

    assert ask(None) is None
    assert ask("https://gw.example") is None
    assert ask("https://shop.example") is None
    assert ask("https://SHOP.example") is None
    assert ask("http://shop.example") == "origin_not_allowed"
    assert ask("https://shop.example.evil") == "origin_not_allowed"
    assert ask("https://x.example", OriginRules(credentials=True, allowed_origins=frozenset({"*"}))) is None


def test_with_credentials_tls_is_required() -> None:
    assert code(request("gw.example", peer="10.0.0.9"), KEYED) == "tls_required"
    assert code(request("gw.example", peer="10.0.0.9"), OriginRules(credentials=True, require_tls=False)) is None
    assert code(request("gw.example", peer="::1"), KEYED) is None


def test_repeated_headers_are_refused() -> None:
    twice = read_request("/", b"", [(b"host", b"localhost"), (b"Host", b"evil")], peer="127.0.0.1", secure=False)
    assert code(twice, OPEN) == "ambiguous_header"


def test_forwarded_headers_are_trusted_only_from_proxies() -> None:
    rules = OriginRules(credentials=True, proxies=read_proxies(["10.0.0.0/8"]))
    said: dict[str, Any] = {
        "x_forwarded_for": "1.1.1.1, 9.9.9.9, 10.0.0.2",
        "x_forwarded_proto": "https",
        "x_forwarded_host": "gw.example",
    }
    seen, refusal = check_origin(request("inner", "https://gw.example", peer="10.0.0.1", **said), rules)
    assert (refusal, seen.peer, seen.secure, seen.host) == (None, "9.9.9.9", True, "gw.example")
    seen, refusal = check_origin(request("inner", peer="8.8.8.8", **said), rules)
    assert refusal is not None
    assert (seen.peer, seen.secure, seen.host) == ("8.8.8.8", False, "inner")
    assert code(request("localhost", peer="127.0.0.1", x_forwarded_host="evil"), OPEN) is None


def test_clients_behind_a_proxy_on_loopback_are_not_loopback() -> None:
    rules = OriginRules(credentials=False, proxies=read_proxies(["127.0.0.1"]))
    assert code(request("localhost", peer="127.0.0.1", x_forwarded_for="9.9.9.9"), rules) == "tls_required"
    assert code(request("localhost", peer="127.0.0.1", x_forwarded_for="localhost"), rules) == "tls_required"
    for hop in ("9.9.9.9:5123", "[2001:db8::1]:443", "2001:db8::1"):
        seen, _ = check_origin(request("localhost", peer="127.0.0.1", x_forwarded_for=hop), rules)
        assert seen.peer in ("9.9.9.9", "2001:db8::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_may_be_bound_without_credentials(host: str) -> None:
    check_bind(host, OPEN)
    check_bind("0.0.0.0", KEYED)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gw.example"])
def test_other_addresses_may_not_be_bound_without_credentials(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        check_bind(host, OPEN)


def test_loopback_addresses() -> None:
    assert all(is_loopback(address) for address in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", ""))
    assert not any(is_loopback(address) for address in ("10.0.0.1", "::ffff:10.0.0.1", "example", "fe80::1"))


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_header_value_raises_or_breaks_the_rules(host: str, origin: str | None) -> None:
    sent = request(host.encode("utf-8", "replace").decode(), origin and origin.encode("utf-8", "replace").decode())
    check_origin(sent, OPEN)
    check_origin(sent, KEYED)
