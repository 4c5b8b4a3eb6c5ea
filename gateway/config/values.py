"""The kinds of values that settings and the tables inside them share, each with its check and its message."""

from __future__ import annotations

from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from gateway.auth.requests import read_proxies
from gateway.config.urls import is_this_machine, read_plain_url
from gateway.net.bind import MAX_PORT


def parts(value: str) -> tuple[str, ...]:
    """The parts of a list that is written as text: separated by commas or line breaks, none of them empty."""
    return tuple(part for line in value.splitlines() for part in map(str.strip, line.split(",")) if part)


def _split(value: object) -> object:
    return parts(value) if isinstance(value, str) else value


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _http_url(value: str) -> str:
    read_plain_url(value, ("https", "http"))
    return value.rstrip("/")


def _private_url(value: str) -> str:
    read_plain_url(value, ("https", "http"))
    if not value.startswith("https:") and not is_this_machine(value):
        raise ValueError("must begin with https://; plain http goes to this machine only")
    return value.rstrip("/")


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        read_proxies(value)
    except ValueError:
        raise ValueError("each must be an address or a network, such as 10.0.0.0/8") from None
    return value


class HostPort(NamedTuple):
    """An address to listen on; port 0 means any free one."""

    host: str
    port: int


def _host_port(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    extra = not value.isprintable() or any(sign in value for sign in "/?#@ ")
    if extra or not host or port is None:
        raise ValueError(
            f"must be HOST:PORT with a port from 0 to {MAX_PORT}, such as 127.0.0.1:9464 or [::1]:9464; "
            "0.0.0.0 as the host means every address, and 0 as the port any free one"
        )
    return HostPort(host, port)


Whole = Annotated[int, BeforeValidator(_no_flag)]
Seconds = Annotated[float, BeforeValidator(_no_flag)]
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[Words, AfterValidator(_networks)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
ListenAddress = Annotated[HostPort, BeforeValidator(_host_port)]
PrivateUrl = Annotated[str, AfterValidator(_private_url)]  # https, or http on this machine
Secret = Annotated[SecretStr, Field(min_length=1)]


class Table(BaseModel):
    """A table of settings inside a setting; it accepts no name that it does not know, and shows no value in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
