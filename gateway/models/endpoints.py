"""Where OpenAI's and Azure OpenAI's Realtime models are, and how to be let in.

Source: OpenAI Realtime API reference; Azure OpenAI "GPT Realtime API via WebSockets" (GA): the path `/openai/v1`, no
`api-version`, the deployment as `model`, and `api-key` or an Entra token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from gateway.auth.keys import fits_a_header
from gateway.guard import Boundary, ForeignTasks, innermost, place_of
from sessions.errors import LegLost
from sessions.problems import problem_of

log = logging.getLogger(__name__)

AZURE_PATH = "/openai/v1"
CLOSE_S = 5.0  # for azure-identity to let go of its connections
SOCKET_SCHEMES = {"http": "ws", "https": "wss"}
Headers: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]


def realtime_url(base: str, model: str) -> str:
    """The socket's address under an API's base URL, given as http, https, ws or wss. Keys of its query are kept."""
    split = urlsplit(base)
    path = split.path.rstrip("/")
    if not path.endswith("/realtime"):
        path += "/realtime"
    kept = [pair for pair in split.query.split("&") if pair and pair.partition("=")[0] != "model"]
    query = "&".join([*kept, f"model={quote(model, safe='')}"])
    return urlunsplit((SOCKET_SCHEMES.get(split.scheme, split.scheme), split.netloc, path, query, ""))


def azure_url(endpoint: str, deployment: str) -> str:
    """The same for a resource of Azure OpenAI, with or without the path of its API. A query is dropped.

    A leftover `api-version` would be answered with 401.
    """
    split = urlsplit(endpoint)
    path = split.path.rstrip("/").removesuffix("/realtime")
    if path.endswith("/openai"):
        path += "/v1"
    elif not path.endswith("/v1"):
        path += AZURE_PATH
    return realtime_url(urlunsplit((split.scheme, split.netloc, path, "", "")), deployment)


def fixed(headers: Mapping[str, str]) -> Headers:
    """Headers that are the same for each connection."""

    async def give() -> Mapping[str, str]:
        return headers

    return give


class EntraTokens:
    """Tokens of the process's own identity, one for each connection; azure-identity keeps them while they last.

    Whoever waits for one has a deadline: azure-identity may ask a server that never answers.
    """

    def __init__(self, scope: str, credential: Any = None) -> None:
        """Loads azure-identity, a quarter of a second's work, unless it is given a `credential` of another making.

        Raises ImportError where it, or aiohttp, is missing, and whatever azure-identity raises of what it finds.
        """
        self._scope = scope
        self._tasks = ForeignTasks()
        if credential is None:
            import_module("aiohttp")  # its transport, which it would look for at the first token only
            transport = import_module("gateway.models.entra_transport").EntraTransport()
            credential = import_module("azure.identity.aio").DefaultAzureCredential(transport=transport)
        self._credential: Any = credential

    async def headers(self) -> Mapping[str, str]:
        """The header for one connection. Raises LegLost, whatever azure-identity comes to raise or to answer."""
        with Boundary(_no_token):
            token = await self._credential.get_token(self._scope)
            if not isinstance(token.token, str) or not fits_a_header(token.token):
                raise LegLost("no Entra token: azure-identity gave none that a header can carry", retryable=True)
            return {"Authorization": f"Bearer {token.token}"}
        raise AssertionError("a boundary that has caught something raises")

    async def close(self) -> None:
        """Let go of its connections."""
        with Boundary(_not_closed):
            async with asyncio.timeout(CLOSE_S):
                await self._tasks.result(self._credential.close())


def _no_token(fault: BaseException) -> NoReturn:
    if isinstance(fault, LegLost):
        raise fault
    # What it says of the ways it tried may name people and tenants.
    kind = type(innermost(fault)).__name__
    log.warning("no Entra token", extra={"kind": kind, "place": place_of(fault)})
    lost = LegLost(f"no Entra token: {kind}", retryable=False)
    lost.problem = problem_of("no_entra_token", kind)
    raise lost from fault


def _not_closed(fault: BaseException) -> None:
    log.warning("azure-identity could not be closed", extra={"kind": type(innermost(fault)).__name__})
