"""Tests for HTTP errors: all have one shape, and credentials are checked first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from support.api_world import BEARER, KEY, served

from gateway.app import Gateway
from gateway.http.errors import add_error_answers

SECRETS = "/v1/realtime/client_secrets"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "path_not_found"),
        ("GET", "/api/v1/agents/", 404, "path_not_found"),
        ("GET", "/nothing.html", 404, "path_not_found"),
        ("DELETE", "/api/v1/agents", 405, "method_not_allowed"),
        ("GET", SECRETS, 405, "method_not_allowed"),
        ("OPTIONS", SECRETS, 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods_are_answered_in_the_one_shape(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.request(method, path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        assert set(refused.json()) == {"error"}
        assert set(refused.json()["error"]) == {"type", "code", "message", "param"}
        assert status != 405 or refused.headers["allow"]

    served(tmp_path, scenario)


@pytest.mark.parametrize("body", ["{bad", "{}", "[" * 1000, "x" * 100_000])
def test_without_a_key_no_body_is_parsed(tmp_path: Path, body: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.post(SECRETS, content=body, headers=JSON)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
        assert refused.headers["connection"] == "close"

    served(tmp_path, scenario, api_keys=KEY)


def test_a_body_above_the_limit_is_refused_with_and_without_a_key(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.post(SECRETS, content="{" + " " * 2000 + "}", headers=JSON | BEARER)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
        good = await client.post(SECRETS, content="{" + " " * 1000 + "}", headers=JSON | BEARER)
        assert good.status_code == 200

    served(tmp_path, scenario, api_keys=KEY, max_body_bytes=1024)


def test_a_lost_store_is_reported_without_its_location(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await gateway.store.close()
        lost = await client.get("/api/v1/sessions/sess_a")
        await gateway.store.open()
        assert (lost.status_code, lost.json()["error"]["code"]) == (503, "store_unavailable")
        assert lost.headers["retry-after"] == "5"
        assert str(tmp_path) not in lost.text

    served(tmp_path, scenario)


def test_an_internal_error_is_reported_without_its_message() -> None:
    app = FastAPI()
    add_error_answers(app)

    @app.get("/")
    async def broken() -> None:
        raise KeyError("marmalade")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "marmalade", {"x-tea": "green"})

    async def main() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gw.example") as client:
            fault = await client.get("/")
            assert (fault.status_code, fault.json()["error"]["code"]) == (500, "internal_error")
            odd = await client.get("/teapot")
            assert (odd.status_code, odd.json()["error"]["code"]) == (418, "http_error")
            assert odd.headers["x-tea"] == "green"
            assert "marmalade" not in fault.text + odd.text

    asyncio.run(main())
