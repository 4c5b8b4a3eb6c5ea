from __future__ import annotations

import asyncio

import pytest

from gateway.models.realtime.endpoints import azure_url, fixed, host_of, realtime_url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=m"),
        ("https://api.openai.com/v1/", "wss://api.openai.com/v1/realtime?model=m"),
        ("http://127.0.0.1:8090/v1", "ws://127.0.0.1:8090/v1/realtime?model=m"),
        ("ws://127.0.0.1:8090/v1/realtime", "ws://127.0.0.1:8090/v1/realtime?model=m"),
        ("wss://host/v1?route=a&model=old", "wss://host/v1/realtime?route=a&model=m"),
    ],
)
def test_a_base_url_leads_to_its_realtime_socket(base: str, url: str) -> None:
    assert realtime_url(base, "m") == url


def test_a_models_name_is_quoted() -> None:
    assert realtime_url("wss://host/v1", "a b/c&d").endswith("?model=a%20b%2Fc%26d")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/",
        "https://r.openai.azure.com/openai",
        "https://r.openai.azure.com/openai/v1/",
        "https://r.openai.azure.com/openai/v1/realtime",
        "wss://r.openai.azure.com/openai/v1?api-version=2025-04-01-preview",
    ],
)
def test_an_azure_resource_is_reached_at_its_ga_path(endpoint: str) -> None:
    assert azure_url(endpoint, "dep") == "wss://r.openai.azure.com/openai/v1/realtime?model=dep"


def test_fixed_headers_are_the_same_for_each_connection() -> None:
    assert asyncio.run(_asked({"api-key": "k"})) == {"api-key": "k"}


async def _asked(headers: dict[str, str]) -> dict[str, str]:
    return dict(await fixed(headers)())


def test_a_models_host_and_port_are_those_of_its_address() -> None:
    assert host_of("wss://r.openai.azure.com/openai/v1/realtime?model=m") == ("r.openai.azure.com", 443)
    assert host_of("ws://[::1]:8090/v1/realtime") == ("::1", 8090)
    assert host_of("ws://localhost/v1") == ("localhost", 80)
