"""The proxy on a call's way, as the environment names it: HTTPS_PROXY, NO_PROXY and the like."""

from __future__ import annotations

from urllib.parse import urlsplit

from websockets.exceptions import InvalidProxy
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from gateway.urls import is_this_machine


class ProxyFault(ValueError):
    """The environment names a proxy that cannot be one; the message does not show it, as it may hold a password."""


def proxy_for(url: str) -> str | None:
    """The proxy's address for a socket's URL; None: there is none on the way. Raises ProxyFault."""
    if is_this_machine(url):
        return None
    proxy = get_proxy(parse_uri(url))
    if proxy is None:
        return None
    try:
        parse_proxy(proxy)
    except InvalidProxy as error:
        why = error.msg
    except ValueError:  # a port that is no number, a name that is none
        why = "it is no URL with a host and a port"
    else:
        return proxy
    told = "the proxy that the environment names (HTTPS_PROXY or the like) cannot be used"
    raise ProxyFault(f"{told}: {why}; write one such as http://HOST:3128, or name the gateway's host in NO_PROXY")


def shown(proxy: str) -> str:
    """A proxy's address without its user and password."""
    parts = urlsplit(proxy)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
