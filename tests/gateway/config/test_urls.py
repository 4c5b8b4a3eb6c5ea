from __future__ import annotations

import pytest

from gateway.config.urls import is_near, is_this_machine, read_plain_url, read_url


@pytest.mark.parametrize(
    "url",
    ["http://x", "https://x.example:443/a?b#c", "HTTP://[::1]:1", "http://exämple/ä", "http://a_b.", "http://u@x"],
)
def test_a_url_with_a_host_is_read(url: str) -> None:
    assert read_url(url, ("https", "http")).hostname


@pytest.mark.parametrize(
    "url",
    [
        "", "bogus", "ftp://x", "http:x", "http://", "http://:80", "http://[::1", "http://x:99999", "http://x:0",
        "http://x:y", "http://..", f"http://{'a' * 64}.b", "http://a b", "http://x/\n", "http://x/\udcff",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_dialled_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_url(url, ("https", "http"))
    assert str(caught.value) == "must be a URL with a host that begins with one of https://, http://"


@pytest.mark.parametrize("url", ["http://u:hush@x", "http://hush@x", "http://x/?hush", "http://x#hush"])
def test_a_plain_url_has_nothing_but_its_place(url: str) -> None:
    assert read_plain_url("http://x:1/path/", ("http",)).port == 1
    with pytest.raises(ValueError, match="must hold no user name, query or fragment") as caught:
        read_plain_url(url, ("http",))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost:80", "localhost.", "a.localhost", "127.0.0.1", "127.1", "127.255.0.9:1", "2130706433",
        "0x7f.1", "0.0.0.0", "[::1]:8080", "[::]", "[::ffff:127.0.0.1]",
    ],
)  # fmt: skip
def test_an_address_of_this_machine_is_known_as_such(host: str) -> None:
    assert is_this_machine(f"ws://{host}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1", "http://localhost.example", "http://notlocalhost", "http://127.0.0.1.example", "http://[fe80::1]",
        "http://[::ffff:10.0.0.1]", "http://128.1", "http://voice.example/127.0.0.1", "http://exämple", "bogus",
    ],
)  # fmt: skip
def test_an_address_of_another_machine_is_known_as_such(url: str) -> None:
    assert not is_this_machine(url)


def test_what_is_linked_directly_is_near() -> None:
    for host in ("169.254.169.254", "169.254.170.2:80", "[fe80::1]", "[::ffff:169.254.169.254]", "localhost", "127.1"):
        assert is_near(f"http://{host}/metadata/identity/oauth2/token?resource=a")
    for host in ("10.0.0.1", "168.63.129.16", "login.microsoftonline.com", "169.254.169.254.example"):
        assert not is_near(f"http://{host}/")
