"""HTTP requests to a gateway on this machine, without a proxy in between."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a request."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was accepted."""
        return 200 <= self.status < 300

    @property
    def why(self) -> str:
        """The reason that a refusal gives, or its status."""
        try:
            error: Any = json.loads(self.body)["error"]
            return f"{error['message']} ({error['code']})"
        except (ValueError, KeyError, TypeError):
            return f"HTTP {self.status}"


# method, path with query, headers, body -> the answer. Raises OSError where the gateway cannot be reached.
Ask: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Awaitable[HttpAnswer]]


def path_under(public_url: str, url: str) -> str | None:
    """The path and the query of an http or WebSocket address under the public one; None for any other address."""
    base = public_url.rstrip("/")
    found = "http" + url.removeprefix("ws") if url.startswith("ws") else url
    return found.removeprefix(base) if found.startswith(f"{base}/") else None


def socket_url(server_url: str, path: str) -> str:
    """Where a media socket is dialled on the server at this http or https address."""
    return "ws" + server_url.rstrip("/").removeprefix("http") + path


def asker(url: str, tls: ssl.SSLContext | None) -> Ask:
    """What asks the gateway at this http or https address, each time on a connection of its own."""

    async def ask(method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        return await asyncio.to_thread(partial(_ask, url, tls, method, path, dict(headers), body))

    return ask


def _ask(
    url: str, tls: ssl.SSLContext | None, method: str, path: str, headers: dict[str, str], body: bytes
) -> HttpAnswer:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    )
    try:
        connection.request(method, parts.path.rstrip("/") + path, body or None, headers)
        answer = connection.getresponse()
        return HttpAnswer(answer.status, answer.read(MAX_ANSWER_BYTES))
    except http.client.HTTPException as error:
        raise OSError(f"the answer is not HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
