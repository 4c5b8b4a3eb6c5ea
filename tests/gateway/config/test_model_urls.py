"""Addresses of models as they are pasted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.model_urls import api_base, azure_resource
from gateway.config.settings import SettingsError, load_settings
from gateway.models.realtime.endpoints import azure_url, realtime_url
from gateway.models.realtime.services import RemoteModels
from sessions.agent import ModelChoice

ANY = ("https", "http", "wss", "ws")
PATHS = [
    "",
    "/",
    "//",
    "/openai",
    "/openai/",
    "/openai/v1",
    "/openai/v1/",
    "/openai/v1/realtime",
    "/openai/v1/realtime?model=dep",
    "/openai/v1/realtime/client_secrets",
    "/openai/v1/chat/completions",
    "/openai/v1/responses?api-version=preview",
    "/openai/realtime?api-version=2025-04-01-preview&deployment=other",
    "/openai/realtime?deployment=other&api-version=2025-04-01-preview&intent=transcription",
    "/openai/deployments/N/chat/completions?api-version=2025-01-01-preview",
    "/openai/deployments/N/audio/transcriptions?api-version=2025-01-01-preview",
    "/openai/deployments/N",
    "/openai/responses?api-version=2025-04-01-preview",
    "/openai?api-version=2025-04-01-preview",
    "/api/projects/P",
    "/api/projects/P/",
    "/api/projects/P/openai/v1",
    "/models/chat/completions?api-version=2024-05-01-preview",
    "/models",
    "/v1",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["r.openai.azure.com", "r.services.ai.azure.com", "r.cognitiveservices.azure.com"])
def test_the_resource_is_taken_out_of_what_a_portal_shows(host: str, path: str) -> None:
    for scheme in ("https", "wss", "HTTPS"):
        resource = azure_resource(f"{scheme}://{host}{path}")
        assert resource == f"{scheme.lower()}://{host}"
        assert azure_url(resource, "dep") == f"wss://{host}/openai/v1/realtime?model=dep"


@pytest.mark.parametrize(
    ("url", "resource", "dialled"),
    [
        ("https://apim.example/shop", "https://apim.example/shop", "/shop/openai/v1"),
        ("https://apim.example/shop/openai", "https://apim.example/shop", "/shop/openai/v1"),
        ("https://apim.example/shop/openai/v1/realtime?model=a", "https://apim.example/shop", "/shop/openai/v1"),
        (
            "https://apim.example/shop/openai/deployments/N/chat/completions",
            "https://apim.example/shop",
            "/shop/openai/v1",
        ),
        ("https://apim.example/shop/api/projects/P", "https://apim.example/shop", "/shop/openai/v1"),
        ("https://apim.example/openai-eu/openai/v1", "https://apim.example/openai-eu", "/openai-eu/openai/v1"),
        ("https://apim.example/v1", "https://apim.example/v1", "/v1"),
        ("https://apim.example/v1/realtime", "https://apim.example/v1", "/v1"),
        ("https://apim.example:8443", "https://apim.example:8443", "/openai/v1"),
    ],
)
def test_the_path_in_front_of_an_api_elsewhere_is_kept(url: str, resource: str, dialled: str) -> None:
    assert azure_resource(url) == resource
    host = resource.removeprefix("https://").partition("/")[0]
    assert azure_url(resource, "dep") == f"wss://{host}{dialled}/realtime?model=dep"
    assert azure_resource("http://127.0.0.1:9/openai/v1") == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("r.openai.azure.com", "must be a URL"),
        ("https://r.openai.azure.com/openai/v1?api-key=hush", "a key has a setting of its own"),
        ("https://r.openai.azure.com/openai?api-version=1&subscription-key=hush", "a key has a setting of its own"),
        ("https://r.openai.azure.com/?hush", "a key has a setting of its own"),
        ("https://r.openai.azure.com/#hush", "fragment"),
        ("https://me:hush@r.openai.azure.com", "no user name"),
        ("http://r.openai.azure.com", "over TLS only"),
        ("ws://r.openai.azure.com/openai/v1/realtime", "over TLS only"),
        ("https://r.openai.azure.com/somewhere", "a path that Azure OpenAI does not have"),
        ("https://r.services.ai.azure.com/voice-live/realtime?api-version=2026-07-15&model=m", "Voice Live"),
        ("https://r.services.ai.azure.com/openaiv1", "a path that Azure OpenAI does not have"),
        ("https://ai.azure.com/resource/overview", "not the address of an Azure OpenAI resource"),
        ("https://oai.azure.com", "not the address of an Azure OpenAI resource"),
        ("https://portal.azure.com/", "not the address of an Azure OpenAI resource"),
        ("https://openai.azure.com", "not the address of an Azure OpenAI resource"),
        ("https://westeurope.api.cognitive.microsoft.com/", "not the address of an Azure OpenAI resource"),
        ("https://api.openai.com/v1", "not the address of an Azure OpenAI resource"),
        ("https://apim.example/deployments/N/chat/completions", "has the path of one call"),
    ],
)
def test_what_is_no_resource_is_refused_with_the_form_that_is_wanted(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        load_settings({"AZURE_OPENAI_ENDPOINT": url}, tmp_path)
    assert str(caught.value).startswith("AZURE_OPENAI_ENDPOINT: ")
    assert str(caught.value).endswith("write the resource's address, such as https://NAME.openai.azure.com")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com", "https://api.openai.com/", "https://api.openai.com/v1", "https://api.openai.com/v1/",
        "https://api.openai.com/v1/realtime", "wss://api.openai.com/v1/realtime?model=gpt-realtime",
        "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/responses/",
        "https://api.openai.com/v1/realtime/client_secrets", "https://api.openai.com/v1/audio/speech",
        "https://api.openai.com/v1/models", "wss://api.openai.com/v1/realtime?intent=transcription",
    ],
)  # fmt: skip
def test_what_openais_pages_show_leads_to_its_socket(url: str) -> None:
    assert realtime_url(api_base(url, ANY), "m") == "wss://api.openai.com/v1/realtime?model=m"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://eu.api.openai.com/v1/realtime", "https://eu.api.openai.com/v1"),
        ("http://127.0.0.1:11434/v1/chat/completions", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:8000/v1/audio/transcriptions/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("ws://host/pb/v1/realtime", "ws://host/pb/v1"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/realtime", "https://r.openai.azure.com/openai/v1"),
    ],
)
def test_an_api_elsewhere_is_where_its_calls_are(url: str, base: str) -> None:
    assert api_base(url, ANY) == base


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("api.openai.com/v1", "must be a URL"),
        ("http://api.openai.com/v1", "OpenAI's is https://api.openai.com/v1"),
        ("https://api.openai.com/v2", "OpenAI's is https://api.openai.com/v1"),
        ("https://platform.openai.com/docs", "a web page, not of an API"),
        ("https://api.openai.com/v1?key=hush", "a key has a setting of its own"),
        ("https://x/v1?model=a&token=hush", "a key has a setting of its own"),
        ("https://r.openai.azure.com", "belongs to Azure"),
        ("https://r.openai.azure.com/openai/deployments/N/chat/completions?api-version=1", "belongs to Azure"),
        ("https://r.services.ai.azure.com/api/projects/P", "belongs to Azure"),
        ("http://127.0.0.1:11434/api/chat", "write http://HOST:PORT/v1"),
    ],
)
def test_what_is_no_api_is_refused_with_the_form_that_is_wanted(tmp_path: Path, url: str, why: str) -> None:
    for name in ("OPENAI_BASE_URL", "PATCHBAY_LOCAL__CHAT__BASE_URL"):
        with pytest.raises(SettingsError, match=why) as caught:
            load_settings({name: url, "PATCHBAY_LOCAL__CHAT__MODEL": "m"}, tmp_path)
        assert f"{name}: " in str(caught.value)
        assert "hush" not in str(caught.value)


def test_a_pasted_address_is_dialled_where_the_model_is(tmp_path: Path) -> None:
    pasted = {
        "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/openai/deployments/N/chat/completions?api-version=2025-01-01",
        "AZURE_OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": "https://api.openai.com/v1/chat/completions",
        "OPENAI_API_KEY": "k",
    }
    models = RemoteModels(load_settings(pasted, tmp_path))
    assert models.endpoint(ModelChoice("azure", "dep")).url == "wss://r.openai.azure.com/openai/v1/realtime?model=dep"
    assert models.endpoint(ModelChoice("openai", "m")).url == "wss://api.openai.com/v1/realtime?model=m"
