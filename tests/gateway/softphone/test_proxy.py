"""The proxy of a call."""

from __future__ import annotations

import pytest

from gateway.softphone.proxy import ProxyFault, proxy_for, without_password

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY", "WS_PROXY", "WSS_PROXY", "NO_PROXY")
PROXY = "http://me:hush@proxy.example:3128"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "SOCKS_PROXY", "WS_PROXY"])
def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, PROXY)
    for host in ("127.0.0.1:8080", "localhost", "LOCALHOST.", "pb.localhost:1", "[::1]:8080", "127.9.9.9", "0.0.0.0"):
        assert proxy_for(f"ws://{host}/v1/realtime?model=a") is None
    assert proxy_for("ws://voice.example/v1/realtime") is not None


def test_another_machine_is_reached_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("wss://voice.example/v1/realtime") is None
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "near.example")
    assert proxy_for("wss://voice.example/v1/realtime") == PROXY
    assert proxy_for("wss://near.example/v1/realtime") is None


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("me:hush@proxy.example:3128", "scheme me isn't supported"),
        ("ftp://me:hush@proxy.example", "scheme ftp isn't supported"),
        ("http://me:hush@proxy.example:port", "it is not a URL with a host and a port"),
        ("http://me:hush@proxy.example:99999", "it is not a URL with a host and a port"),
        ("http://me:hush@", "hostname isn't provided"),
        ("http://hush@proxy.example", "username provided without password"),
        ("http://me:hush@proxy.example/way", "path is meaningless"),
    ],
)
def test_an_unusable_proxy_is_reported_and_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str, why: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ProxyFault, match=f"cannot be used: {why}; write one such as http://HOST:3128") as caught:
        proxy_for("wss://voice.example/v1/realtime")
    assert "hush" not in str(caught.value)
    assert proxy_for("ws://127.0.0.1:8080/v1/realtime") is None


def test_a_proxy_is_shown_without_its_password() -> None:
    assert without_password(PROXY) == "http://proxy.example:3128"
    assert without_password("socks5h://[::1]") == "socks5h://[::1]"
