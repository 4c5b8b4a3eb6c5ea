"""Basic authentication of one user."""

from __future__ import annotations

from base64 import b64encode

import pytest

from gateway.auth.basic import BAD_LOGIN, NO_LOGIN, BasicLogin
from gateway.auth.requests import Refusal


def shown(login: bytes) -> str:
    return b64encode(login).decode()


RIGHT = shown("pbx:hush:größe".encode())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((f"Basic {RIGHT}",), None),
        ((f"basic  {RIGHT} ",), None),
        ((), NO_LOGIN),
        (("",), NO_LOGIN),
        ((f"Bearer {RIGHT}",), NO_LOGIN),
        ((f"Basic {RIGHT}", f"Basic {RIGHT}"), NO_LOGIN),
        (("Basic",), BAD_LOGIN),
        (("Basic !",), BAD_LOGIN),
        (("Basic größe",), BAD_LOGIN),
        ((f"Basic {shown(b'pbx:hush')}",), BAD_LOGIN),
        ((f"Basic {shown(b'pbx')}",), BAD_LOGIN),
        ((f"Basic {shown(b'other:hush')}",), BAD_LOGIN),
    ],
)
def test_only_the_right_login_is_let_in(headers: tuple[str, ...], expected: Refusal | None) -> None:
    assert BasicLogin("pbx", "hush:größe").refuse(headers) == expected


def test_a_refusal_asks_for_this_kind_of_login() -> None:
    assert ("www-authenticate", "Basic") in NO_LOGIN.headers()
