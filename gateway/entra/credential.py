"""The credential of this process: what azure-identity finds in the environment, on the machine or in its cluster."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_credential() -> Any:
    """Load azure-identity, which takes a quarter of a second, and make its `DefaultAzureCredential`.

    Raises ImportError if azure-identity or aiohttp is missing, and whatever azure-identity raises about its
    environment. The caller closes the credential.
    """
    import_module("aiohttp")  # azure-identity would import it at the first token only, during a call
    transport = import_module("gateway.entra.transport").EntraTransport()
    return import_module("azure.identity.aio").DefaultAzureCredential(transport=transport)
