"""The names that OpenTelemetry's conventions for generative AI have for models and what they do."""

from __future__ import annotations

from collections.abc import Mapping

# One generation of a realtime model. Source: open-telemetry/semantic-conventions-genai, pull request 394.
REALTIME_INFERENCE = "realtime_inference"
# By the kind that stands before the slash in a model's name; the last two are our own.
PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "azure": "azure.ai.openai",
    "local": "patchbay.local",
    "scripted": "patchbay.scripted",
}


def provider_and_model(model: str) -> tuple[str, str]:
    """The provider's name, and the model's own name, of a model that is written as `KIND/NAME`."""
    kind, _, name = model.partition("/")
    return PROVIDERS.get(kind, kind), name
