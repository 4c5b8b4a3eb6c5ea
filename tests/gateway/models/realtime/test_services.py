"""Tests for gateway/models/realtime/services.py: endpoints and credentials by kind of model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config.settings import load_settings
from gateway.models.realtime.leg import Endpoint
from gateway.models.realtime.services import RemoteModels
from sessions.agent import ModelChoice

AZURE = "https://r.openai.azure.com"


def remote(folder: Path, **environ: str) -> RemoteModels:
    return RemoteModels(load_settings({"PATCHBAY_AGENTS_DIR": str(folder), **environ}, folder))


async def headers_of(endpoint: Endpoint) -> Mapping[str, str]:
    return await endpoint.headers()


def test_missing_settings_are_reported_by_kind_of_model(tmp_path: Path) -> None:
    bare = remote(tmp_path)
    assert bare.missing("openai") == "OPENAI_API_KEY is not set"
    assert bare.missing("azure") == "AZURE_OPENAI_ENDPOINT is not set"
    assert bare.missing("scripted") is None
    keyless = remote(tmp_path, AZURE_OPENAI_ENDPOINT=AZURE)
    assert "azure-identity is not loaded" in (keyless.missing("azure") or "")


def test_each_kind_has_its_own_endpoint_and_credential(tmp_path: Path) -> None:
    keyed = remote(tmp_path, OPENAI_API_KEY="k1", AZURE_OPENAI_ENDPOINT=AZURE, AZURE_OPENAI_API_KEY="k2")
    assert keyed.missing("openai") is keyed.missing("azure") is None
    openai = keyed.endpoint(ModelChoice("openai", "gpt-realtime"))
    azure = keyed.endpoint(ModelChoice("azure", "dep"))
    assert openai.url == "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    assert azure.url == "wss://r.openai.azure.com/openai/v1/realtime?model=dep"
    assert asyncio.run(headers_of(openai)) == {"Authorization": "Bearer k1"}
    assert asyncio.run(headers_of(azure)) == {"api-key": "k2"}
    assert openai.semantic_vad
    assert not azure.semantic_vad


def test_tls_is_loaded_for_remote_models_only(tmp_path: Path) -> None:
    models = remote(tmp_path, OPENAI_API_KEY="k")

    async def warmed(*kinds: str) -> dict[str, str]:
        return await models.warm(set(kinds))

    assert asyncio.run(warmed("scripted", "local")) == {}
    assert not models.ready
    assert asyncio.run(warmed("openai")) == {}
    assert models.ready
    assert models.endpoint(ModelChoice("openai", "m")).ssl_context is not None
    asyncio.run(models.close())


def test_an_identity_that_cannot_be_loaded_disables_its_own_models_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("azure.identity", reason="pip install patchbay[azure]")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "no such thing")  # azure-identity reads it by itself, and raises
    models = remote(tmp_path, AZURE_OPENAI_ENDPOINT=AZURE)
    problems = asyncio.run(models.warm({"azure"}))
    assert "cannot be loaded (ValueError)" in problems["azure"]
    assert "not loaded" in (models.missing("azure") or "")
    assert models.ready
    asyncio.run(models.close())
