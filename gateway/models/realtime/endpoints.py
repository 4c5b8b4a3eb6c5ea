"""The addresses of OpenAI's and Azure OpenAI's Realtime models, and the headers that open a connection.

Source: OpenAI Realtime API reference; Azure OpenAI "GPT Realtime API via WebSockets" (GA): the path `/openai/v1`, no
`api-version`, the deployment as `model`, and `api-key` or an Entra token as the credential.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from gateway.auth.keys import fits_a_header
from gateway.entra.credential import load_credential
from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from sessions.accounts import LegError
from sessions.errors import LegLost
from sessions.problems import problem_of

log = logging.getLogger(__name__)

AZURE_PATH = "/openai/v1"
# How long azure-identity may take to close its connections.
CLOSE_S = 5.0
SOCKET_SCHEMES = {"http": "ws", "https": "wss"}
Headers: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]


def realtime_url(base: str, model: str) -> str:
    """The WebSocket address under an API's base URL, which is http, https, ws or wss.

    The base URL's query is kept, except for its `model`.
    """
    split = urlsplit(base)
    path = split.path.rstrip("/")
    if not path.endswith("/realtime"):
        path += "/realtime"
    kept = [pair for pair in split.query.split("&") if pair and pair.partition("=")[0] != "model"]
    query = "&".join([*kept, f"model={quote(model, safe='')}"])
    return urlunsplit((SOCKET_SCHEMES.get(split.scheme, split.scheme), split.netloc, path, query, ""))


def azure_url(endpoint: str, deployment: str) -> str:
    """The WebSocket address under an endpoint of Azure OpenAI, with or without the path of its API.

    The endpoint's query is dropped: Azure answers a leftover `api-version` with 401.
    """
    split = urlsplit(endpoint)
    path = split.path.rstrip("/").removesuffix("/realtime")
    if path.endswith("/openai"):
        path += "/v1"
    elif not path.endswith("/v1"):
        path += AZURE_PATH
    return realtime_url(urlunsplit((split.scheme, split.netloc, path, "", "")), deployment)


def host_of(url: str) -> tuple[str, int | None]:
    """Host and port of a WebSocket address."""
    split = urlsplit(url)
    return split.hostname or "", split.port or {"ws": 80, "wss": 443}.get(split.scheme)


def fixed(headers: Mapping[str, str]) -> Headers:
    """A source of headers that gives the same ones for each connection."""

    async def give() -> Mapping[str, str]:
        return headers

    return give


class EntraTokens:
    """Gets an Entra token of the process's own identity for each connection; azure-identity caches the tokens.

    The caller of `headers` must set a deadline: azure-identity may ask a server that never answers.
    """

    def __init__(self, scope: str, credential: Any = None) -> None:
        """Load azure-identity, which takes a quarter of a second, unless a `credential` is given instead.

        Raises ImportError if azure-identity or aiohttp is missing, and whatever azure-identity raises about its
        environment.
        """
        self._scope = scope
        self._tasks = ForeignTasks()
        self._credential: Any = load_credential() if credential is None else credential

    async def headers(self) -> Mapping[str, str]:
        """The header for one connection. Raises LegLost for whatever azure-identity raises, and for a bad token."""
        with Boundary(_no_token):
            token = await self._credential.get_token(self._scope)
            if not isinstance(token.token, str) or not fits_a_header(token.token):
                raise LegLost(
                    "no Entra token: azure-identity returned one that does not fit into a header", retryable=True
                )
            return {"Authorization": f"Bearer {token.token}"}
        raise AssertionError("the boundary raises what it has caught")

    async def close(self) -> None:
        """Close azure-identity's connections."""
        with Boundary(_not_closed):
            async with asyncio.timeout(CLOSE_S):
                await self._tasks.result(self._credential.close())


def _no_token(fault: BaseException) -> NoReturn:
    if isinstance(fault, LegLost):
        raise fault
    # The error's own text is not logged: it may name people and tenants.
    kind = type(innermost(fault)).__name__
    log.warning("no Entra token", extra={"kind": kind, "place": place_of(fault)})
    lost = LegLost(f"no Entra token: {kind}", retryable=False)
    lost.problem = problem_of("no_entra_token", kind)
    lost.error = LegError.AUTH
    raise lost from fault


def _not_closed(fault: BaseException) -> None:
    log.warning("azure-identity could not be closed", extra={"kind": type(innermost(fault)).__name__})
