"""The proxy that the environment names for a call: HTTPS_PROXY, NO_PROXY and similar variables."""

from __future__ import annotations

from urllib.parse import urlsplit

from websockets.exceptions import InvalidProxy
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from gateway.config.urls import is_this_machine


class ProxyFault(ValueError):
    """The environment names an unusable proxy. The message does not show it, as it may hold a password."""


def proxy_for(url: str) -> str | None:
    """The address of the proxy for a socket's URL, or None for a direct connection. Raises ProxyFault."""
    if is_this_machine(url):
        return None
    proxy = get_proxy(parse_uri(url))
    if proxy is None:
        return None
    try:
        parse_proxy(proxy)
    except InvalidProxy as error:
        why = error.msg
    except ValueError:  # the port is not a number, or the host is missing
        why = "it is not a URL with a host and a port"
    else:
        return proxy
    message = "the proxy that the environment names (HTTPS_PROXY or similar) cannot be used"
    raise ProxyFault(f"{message}: {why}; write one such as http://HOST:3128, or name the gateway's host in NO_PROXY")


def without_password(proxy: str) -> str:
    """A proxy's address without user name and password."""
    parts = urlsplit(proxy)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
