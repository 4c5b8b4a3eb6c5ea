"""Opens a WebSocket to a server (RFC 6455, 4.1), over picows. No redirects, no proxies, no compression."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from picows.common import WSHandshakeError, WSUpgradeResponse

from gateway.net.protocol import PicowsProtocol
from gateway.net.sockets import DEFAULT_LIMITS, PicowsSocket, Receiver, Side, Socket, SocketLimits, log_fault
from sessions.errors import LegLost

_SECURE = {"ws": False, "wss": True, "http": False, "https": True}
_RETRYABLE_STATUS = frozenset({408, 425, 429})
_URL_CHARACTERS = "/%:@!$&'()*+,;=-._~?"


class DialFailed(LegLost):
    """The WebSocket could not be opened. `status` is the HTTP status of a refused upgrade, otherwise None.

    `answer` is the body of the server's answer; it must not be logged.
    """

    def __init__(self, message: str, *, retryable: bool, status: int | None = None, answer: bytes = b"") -> None:
        super().__init__(message, retryable=retryable, public="the connection could not be made")
        self.status = status
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    secure: bool
    resource: str  # path and query

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def _read_url(url: str) -> _Target:
    """Parse the URL. Raises ValueError whose message does not contain the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the address to dial is not a URL") from None
    if parts.scheme not in _SECURE or not host:
        raise ValueError("the address to dial must be a ws, wss, http or https URL with a host")
    if parts.username is not None:
        raise ValueError("the address to dial must not hold a user name or password")
    secure = _SECURE[parts.scheme]
    resource = quote(parts.path or "/", safe=_URL_CHARACTERS)
    if parts.query:
        resource += "?" + quote(parts.query, safe=_URL_CHARACTERS)
    return _Target(host, port or (443 if secure else 80), secure, resource)


def _header_list(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    for name, value in pairs:
        if any(character in name + value for character in "\r\n\0"):
            raise ValueError("a header for the connection contains a line break")
    return pairs


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The TLS context for public servers. The first call takes about 20 ms, so make it before a telephone call."""
    return ssl.create_default_context()


async def dial(
    url: str,
    receiver: Receiver,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
    on_fault: Callable[[BaseException], None] = log_fault,
    limits: SocketLimits = DEFAULT_LIMITS,
    side: Side = Side.MODEL,
) -> Socket:
    """Open a WebSocket to a ws, wss, http or https URL. When this returns, `receiver.opened` has been called.

    Raises `DialFailed` within `timeout_s`; its message has no key, path or query. Raises ValueError for an invalid
    address or header. When it is cancelled, no connection stays open.
    """
    target = _read_url(url)
    sent = _header_list(headers)
    if subprotocols:
        sent.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    socket = PicowsSocket(receiver, on_fault, limits, target.host, side)

    def agree(_: Any, response: WSUpgradeResponse) -> PicowsSocket:
        chosen = response.headers.get("Sec-WebSocket-Protocol")
        if chosen is not None and chosen not in subprotocols:
            raise DialFailed(f"{target.authority} chose a subprotocol that was not offered", retryable=False)
        if "Sec-WebSocket-Extensions" in response.headers:
            raise DialFailed(f"{target.authority} chose an extension that was not offered", retryable=False)
        socket.subprotocol = chosen
        return socket

    protocol = PicowsProtocol(socket, limits, agree, (target.authority, target.resource, sent))
    tls = (ssl_context or tls_context()) if target.secure else None
    made = False
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(protocol, target, tls)
        made = True
    except TimeoutError:
        raise DialFailed(f"{target.authority} did not answer in time", retryable=True) from None
    finally:
        if not made:
            protocol.abort()
    return socket


async def _connect(protocol: PicowsProtocol, target: _Target, tls: ssl.SSLContext | None) -> None:
    try:
        await asyncio.get_running_loop().create_connection(lambda: protocol, target.host, target.port, ssl=tls)
        await protocol.wait_until_handshake_complete()
    except WSHandshakeError as error:
        raise _refused(target, error) from None  # the original error contains the server's whole answer
    except ssl.SSLError as error:
        detail = getattr(error, "verify_message", "") or error.reason or "failed"
        raise DialFailed(f"TLS with {target.authority}: {detail}", retryable=False) from None
    except (OSError, UnicodeError) as error:
        errno = getattr(error, "errno", None)
        detail = os.strerror(errno) if errno is not None and errno > 0 else type(error).__name__
        raise DialFailed(f"cannot connect to {target.authority}: {detail}", retryable=True) from None
    if protocol.listener is None:
        raise DialFailed(f"{target.authority} hung up during the handshake", retryable=True)


def _refused(target: _Target, error: WSHandshakeError) -> DialFailed:
    status = None if error.response is None else int(error.response.status)
    if status is None or status == 101:
        return DialFailed(f"{target.authority} does not speak WebSocket there", retryable=False)
    retryable = status >= 500 or status in _RETRYABLE_STATUS
    text = f"{target.authority} refused the connection with HTTP {status}"
    return DialFailed(text, retryable=retryable, status=status, answer=error.raw_body or b"")
