"""How azure-identity asks for tokens: an identity service nearby directly, all others as the environment says.

A managed identity's tokens come from this machine (App Service, Azure Arc) or from the link-local address of its host
(169.254.169.254), where no proxy leads; the secret that such a service asks for belongs to no proxy either. This module
loads azure-core and aiohttp.
"""

from __future__ import annotations

from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

from gateway.urls import is_near


class EntraTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core makes the name on demand
    """Goes through the environment's proxies, but for what is near."""

    def __init__(self) -> None:
        super().__init__()
        self._straight = AioHttpTransport(use_env_settings=False)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one request."""
        if is_near(request.url):
            return await self._straight.send(request, **options)
        return await super().send(request, **options)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._straight.close()
        await super().close()
