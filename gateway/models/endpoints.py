"""Where OpenAI's and Azure OpenAI's Realtime models are, and how to be let in.

Source: OpenAI Realtime API reference; Azure OpenAI "GPT Realtime API via WebSockets" (GA): the path `/openai/v1`, no
`api-version`, the deployment as `model`, and `api-key` or an Entra token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from sessions.errors import LegLost

AZURE_PATH = "/openai/v1"
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
    """Tokens of the process's own identity, one for each connection; azure-identity keeps them while they last."""

    def __init__(self, scope: str) -> None:
        """Loads azure-identity, a quarter of a second's work. Raises ImportError where it, or aiohttp, is missing."""
        self._scope = scope
        import_module("aiohttp")  # its transport, which it would look for at the first token only
        self._failed: type[Exception] = import_module("azure.core.exceptions").AzureError
        transport = import_module("gateway.models.entra_transport").EntraTransport()
        self._credential: Any = import_module("azure.identity.aio").DefaultAzureCredential(transport=transport)

    async def headers(self) -> Mapping[str, str]:
        """The header for one connection. Raises LegLost."""
        try:
            token = await self._credential.get_token(self._scope)
        except self._failed as error:
            # What it says of the ways it tried may name people and tenants.
            raise LegLost(f"no Entra token: {type(error).__name__}", retryable=False) from error
        return {"Authorization": f"Bearer {token.token}"}

    async def close(self) -> None:
        """Let go of its connections."""
        await self._credential.close()
