"""Access to the models of OpenAI and Azure OpenAI by this process's settings."""

from __future__ import annotations

import asyncio
import logging
import ssl

from gateway.config.settings import Settings
from gateway.guard import Boundary, innermost, place_of
from gateway.models.realtime.endpoints import EntraTokens, azure_url, fixed, realtime_url
from gateway.models.realtime.leg import Endpoint
from sessions.agent import ModelChoice

log = logging.getLogger(__name__)

# Session fields that Azure may not know.
AZURE_VOIDS = frozenset({"tracing", "prompt"})


class RemoteModels:
    """Holds keys, tokens and the TLS context, and makes the endpoints of models with them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entra: EntraTokens | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def ready(self) -> bool:
        """Whether `warm` has loaded what calls need: the TLS context."""
        return self._tls is not None

    def missing(self, kind: str) -> str | None:
        """What is missing for calls to models of this kind, in words that anybody may see; None if nothing is."""
        settings = self._settings
        match kind:
            case "openai" if settings.openai_api_key is None:
                return "OPENAI_API_KEY is not set"
            case "azure" if not settings.azure_openai_endpoint:
                return "AZURE_OPENAI_ENDPOINT is not set"
            case "azure" if settings.azure_openai_api_key is None and self._entra is None:
                return "AZURE_OPENAI_API_KEY is not set, and azure-identity is not loaded"
        return None

    async def warm(self, kinds: set[str]) -> dict[str, str]:
        """Load in threads what models of these kinds need. Returns the problems by kind, empty if all is loaded."""
        if kinds & {"openai", "azure"} and self._tls is None:
            # This holds the interpreter for 30 ms, so it must not happen during calls.
            self._tls = await asyncio.to_thread(self._make_tls)
        if "azure" in kinds and self._settings.azure_openai_api_key is None and self._entra is None:
            problems: dict[str, str] = {}
            with Boundary(lambda fault: problems.update(azure=_no_identity(fault))):
                self._entra = await asyncio.to_thread(EntraTokens, self._settings.azure_scope)
            return problems
        return {}

    def endpoint(self, model: ModelChoice) -> Endpoint:
        """The endpoint of a model of the kind openai or azure. Only call this if nothing is `missing`."""
        return self._azure(model.name) if model.kind == "azure" else self._openai(model.name)

    async def close(self) -> None:
        """Close what `warm` has opened."""
        if self._entra is not None:
            await self._entra.close()

    def _make_tls(self) -> ssl.SSLContext:
        authority = self._settings.model_ca
        return ssl.create_default_context(cafile=str(authority) if authority is not None else None)

    def _openai(self, name: str) -> Endpoint:
        key = self._settings.openai_api_key
        assert key is not None, "`missing` was asked first"
        url = realtime_url(self._settings.openai_base_url, name)
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        return Endpoint(url, fixed(headers), self._tls, frozenset(), semantic_vad=True)

    def _azure(self, name: str) -> Endpoint:
        settings = self._settings
        url = azure_url(settings.azure_openai_endpoint or "", name)
        key = settings.azure_openai_api_key
        if key is not None:
            headers = fixed({"api-key": key.get_secret_value()})
        else:
            assert self._entra is not None, "`missing` was asked first"
            headers = self._entra.headers
        # Azure accepts semantic_vad, but has been seen to detect no speech then.
        return Endpoint(url, headers, self._tls, AZURE_VOIDS, semantic_vad=False)


def _no_identity(fault: BaseException) -> str:
    """Why azure-identity cannot be used, and what to do about it."""
    if isinstance(fault, ImportError):
        return "install patchbay[azure], or set AZURE_OPENAI_API_KEY"
    kind = type(innermost(fault)).__name__
    log.warning("azure-identity cannot be loaded", extra={"kind": kind, "place": place_of(fault)})
    return f"azure-identity cannot be loaded ({kind}); set AZURE_OPENAI_API_KEY, or check the AZURE_* variables"
