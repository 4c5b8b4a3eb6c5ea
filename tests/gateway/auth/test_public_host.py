"""Which requests may be sent to the public address: those of carriers, through a tunnel or a proxy on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Caller, Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, PublicAddress, check_origin, read_public
from gateway.auth.requests import Refusal, UpgradeRequest, read_proxies, read_request, read_scope

PUBLIC = read_public("https://voice.example")
OPEN = OriginRules(credentials=False, public=PUBLIC)
PROXIED = OriginRules(credentials=False, public=PUBLIC, proxies=read_proxies(["127.0.0.1"]))
KEYED = OriginRules(credentials=True, public=PUBLIC, allowed_origins=frozenset({"*"}))


class StoppedClock:
    def now_ms(self) -> int:
        return 0

    def wall_s(self) -> float:
        return 0.0


def request(
    host: str, *, peer: str = "127.0.0.1", secure: bool = False, carrier: bool = True, **more: str
) -> UpgradeRequest:
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in more.items()}}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    return read_request("/telephony/x", b"", raw, peer=peer, secure=secure, hosts_public=carrier)


def code(sent: UpgradeRequest, rules: OriginRules) -> str | None:
    refusal = check_origin(sent, rules)[1]
    return refusal.code if refusal else None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://voice.example", PublicAddress("voice.example", 443, True)),
        ("http://Voice.example:8080/patchbay", PublicAddress("voice.example", 8080, False)),
        ("HTTPS://[2001:db8::1]:444/", PublicAddress("2001:db8::1", 444, True)),
    ],
)
def test_the_public_address_is_read_from_its_url(url: str, address: PublicAddress) -> None:
    assert read_public(url) == address


@pytest.mark.parametrize("url", ["", "voice.example", "https://", "https://user@voice.example", "https://a:b"])
def test_a_url_without_a_host_is_no_public_address(url: str) -> None:
    with pytest.raises(ValueError):
        read_public(url)


@pytest.mark.parametrize("host", ["voice.example", "Voice.Example", "voice.example:443", "localhost:8080", "127.0.0.1"])
def test_without_keys_a_tunnel_on_this_machine_reaches_a_carriers_route(host: str) -> None:
    assert code(request(host), OPEN) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "voice.example.evil", "voice.example:8080", "voice.example:80", "x.voice.example", ""),
        *("voice.example.", "voice.example@evil", "voice.example/evil"),
    ],
)
def test_without_keys_no_other_host_is_answered_to(host: str) -> None:
    assert code(request(host), OPEN) == "host_not_allowed"


def test_a_port_in_the_public_address_must_be_sent() -> None:
    rules = OriginRules(credentials=False, public=read_public("https://voice.example:8443"))
    assert code(request("voice.example:8443"), rules) is None
    assert code(request("voice.example"), rules) == "host_not_allowed"


def test_other_routes_do_not_answer_to_the_public_host() -> None:
    assert code(request("voice.example", carrier=False), OPEN) == "host_not_allowed"
    assert code(request("voice.example"), OriginRules(credentials=False)) == "host_not_allowed"


def test_without_keys_other_machines_are_refused_under_every_name() -> None:
    for host in ("voice.example", "localhost"):
        assert code(request(host, peer="10.0.0.9", secure=True), OPEN) == "tls_required"


def test_a_trusted_proxy_on_this_machine_carries_what_came_over_tls() -> None:
    said = {"x_forwarded_for": "203.0.113.7", "x_forwarded_proto": "https", "x_forwarded_host": "voice.example"}
    seen, refusal = check_origin(request("127.0.0.1:8080", **said), PROXIED)
    assert (refusal, seen.peer, seen.secure, seen.host) == (None, "203.0.113.7", True, "voice.example")
    assert code(request("127.0.0.1:8080", **{**said, "x_forwarded_proto": "http"}), PROXIED) == "tls_required"
    assert (
        code(request("127.0.0.1:8080", **{**said, "x_forwarded_host": "evil.example"}), PROXIED) == "host_not_allowed"
    )
    assert code(request("127.0.0.1:8080", carrier=False, **said), PROXIED) == "tls_required"
    assert code(request("127.0.0.1:8080", peer="10.0.0.9", **said), PROXIED) == "tls_required"


def test_with_keys_the_public_host_is_one_of_many() -> None:
    assert code(request("voice.example", peer="203.0.113.7", secure=True), KEYED) is None
    assert code(request("voice.example", peer="203.0.113.7"), KEYED) == "tls_required"
    assert code(request("voice.example"), KEYED) is None  # a tunnel


@pytest.mark.parametrize("rules", [OPEN, KEYED])
def test_no_page_of_another_origin_uses_a_carriers_route(rules: OriginRules) -> None:
    assert code(request("voice.example", origin="https://evil.example"), rules) == "origin_not_allowed"
    assert code(request("voice.example", origin="null"), rules) == "origin_not_allowed"
    assert code(request("voice.example", origin="http://voice.example.evil"), rules) == "origin_not_allowed"
    for own in ("https://voice.example", "https://VOICE.example:443", "http://voice.example"):
        assert code(request("voice.example", origin=own), rules) is None


def entrance(rules: OriginRules, *keys: str) -> Entrance:
    return Entrance(rules, read_keys(keys), ClientSecrets(b"s" * 32), StoppedClock())


def test_a_carrier_is_let_in_by_line_and_host_alone() -> None:
    sent = request("voice.example", carrier=False)
    for door in (entrance(OPEN), entrance(KEYED, "k-1")):
        found = door.let_carrier_in(sent)
        assert isinstance(found, UpgradeRequest)
        assert found.host == "voice.example"
    refused = entrance(OPEN).let_carrier_in(request("evil.example"))
    assert isinstance(refused, Refusal)
    assert refused.code == "host_not_allowed"


def test_without_keys_nobody_is_the_default_tenant_through_the_public_address() -> None:
    found = entrance(OPEN).let_in(request("voice.example"), client_secrets=False)
    assert isinstance(found, Refusal)
    assert found.code == "host_not_allowed"
    assert isinstance(entrance(OPEN).let_in(request("localhost"), client_secrets=False), Caller)
    shown = request("voice.example", authorization="Bearer k-1")
    assert isinstance(entrance(KEYED, "k-1").let_in(shown, client_secrets=False), Caller)


def test_http_requests_under_the_carriers_path_are_sent_to_the_public_host_too() -> None:
    def read(path: str, **more: Any) -> UpgradeRequest:
        return read_scope({"path": path, "headers": [(b"host", b"voice.example")], "client": ("::1", 1), **more})

    found = read("/telephony/a b", raw_path=b"/telephony/a%20b", query_string=b"x=%41&x=")
    assert (found.target, found.query.all("x"), code(found, OPEN)) == ("/telephony/a%20b?x=%41&x=", ("A", ""), None)
    for path in ("/telephony", "/", "/api/telephony/", "//telephony/x", "/telephonyx"):
        assert code(read(path, raw_path=None), OPEN) == "host_not_allowed"


def test_neither_the_ticket_nor_the_path_is_in_the_text_of_a_request() -> None:
    found = read_request("/a/sesame", b"", [], peer="", secure=True, target="/a/sesame", segment="sesame")
    assert "sesame" not in repr(found)


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_header_value_raises(host: str, origin: str | None) -> None:
    more = {} if origin is None else {"origin": origin.encode("utf-8", "replace").decode()}
    sent = request(host.encode("utf-8", "replace").decode(), **more)
    for rules in (OPEN, PROXIED, KEYED):
        check_origin(sent, rules)
