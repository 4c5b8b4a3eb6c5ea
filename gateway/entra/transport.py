"""The HTTP transport of azure-identity: direct to a local identity service, by the environment's proxies otherwise.

A managed identity's tokens come from this machine (App Service, Azure Arc) or from the link-local address of its host
(169.254.169.254). A proxy cannot reach those, and must not see the secret that such a service asks for. This module
imports azure-core and aiohttp, so it is loaded only for Entra tokens.
"""

from __future__ import annotations

from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

from gateway.config.urls import is_near


class EntraTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core creates this name on demand
    """Sends requests to local addresses directly, and all others through the environment's proxies."""

    def __init__(self) -> None:
        super().__init__()
        self._direct = AioHttpTransport(use_env_settings=False)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one request."""
        if is_near(request.url):
            return await self._direct.send(request, **options)
        return await super().send(request, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._direct.close()
        await super().close()
