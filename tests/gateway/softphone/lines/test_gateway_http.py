"""Addresses of a server that is reached on this machine, and not where its settings say."""

from __future__ import annotations

import pytest

from gateway.softphone.lines.gateway_http import path_under, socket_url


@pytest.mark.parametrize(
    ("public_url", "url", "path"),
    [
        ("https://voice.example", "https://voice.example/a/b?c=d", "/a/b?c=d"),
        ("https://voice.example/pb/", "wss://voice.example/pb/a", "/a"),
        ("http://voice.example:81", "ws://voice.example:81/a", "/a"),
        ("https://voice.example", "ws://voice.example/a", None),
        ("https://voice.example", "https://voice.example.org/a", None),
        ("https://voice.example/pb", "https://voice.example/pbx/a", None),
    ],
)
def test_an_address_is_under_the_public_one_or_not(public_url: str, url: str, path: str | None) -> None:
    assert path_under(public_url, url) == path


def test_a_socket_is_dialled_as_safely_as_the_server_is_asked() -> None:
    assert socket_url("http://127.0.0.1:8080/", "/media") == "ws://127.0.0.1:8080/media"
    assert socket_url("https://[::1]", "/media") == "wss://[::1]/media"
