from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI

from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.entrance import Caller, Entrance
from gateway.auth.http import EntranceRefused, OriginMiddleware, RequireCaller, answer_refusal
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules
from gateway.clock import SystemClock

KEYS = read_keys(["acme:k-1"])
RULES = OriginRules(credentials=True, allowed_origins=frozenset({"https://Shop.example/"}))
ENTRANCE = Entrance(RULES, KEYS, ClientSecrets(derive_signing_key(KEYS.material())), SystemClock())
KnownCaller = Annotated[Caller, Depends(RequireCaller(ENTRANCE))]


def make_app() -> FastAPI:
    app = FastAPI()
    app.add_exception_handler(EntranceRefused, answer_refusal)
    app.add_middleware(OriginMiddleware, rules=RULES, open_paths=frozenset({"/healthz"}))

    @app.get("/who")
    async def who(caller: KnownCaller) -> str:
        return caller.tenant

    @app.get("/healthz")
    async def healthz() -> str:
        return "fine"

    return app


def ask(path: str, headers: dict[str, str], peer: str = "127.0.0.1", method: str = "GET") -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(), client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://gw.example") as http:
            return await http.request(method, path, headers=headers)

    return asyncio.run(main())


def test_a_key_admits_its_tenant_to_a_route() -> None:
    answer = ask("/who", {"authorization": "Bearer k-1"})
    assert (answer.status_code, answer.json()) == (200, "acme")


def test_a_refusal_has_the_openai_shape() -> None:
    answer = ask("/who", {"authorization": "Bearer nope"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_api_key",
            "message": "This server does not know the API key.",
            "param": None,
        }
    }


def test_pages_of_other_origins_are_refused_before_any_route() -> None:
    answer = ask("/nowhere", {"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")


def test_probes_under_an_address_are_admitted() -> None:
    assert ask("/healthz", {}, peer="10.0.0.1").status_code == 200
    assert ask("/who", {}, peer="10.0.0.1").json()["error"]["code"] == "tls_required"


def test_a_query_with_too_many_fields_is_refused() -> None:
    answer = ask("/who?" + "a=1&" * 100, {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unreadable_query")


SHOP = "https://shop.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


def test_an_allowed_page_may_send_a_preflight_and_read_the_answer() -> None:
    answer = ask("/who", {"origin": SHOP, **PREFLIGHT}, method="OPTIONS")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].lower().split(", "))
    assert "access-control-allow-credentials" not in answer.headers
    for headers, status in (({"authorization": "Bearer k-1"}, 200), ({}, 401)):
        answer = ask("/who", {"origin": SHOP, **headers})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, SHOP)
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("requested", [{"access-control-request-method": "PUT"}, {**PREFLIGHT, "origin": "null"}])
def test_a_page_may_not_use_other_methods_or_headers(requested: dict[str, str]) -> None:
    assert ask("/who", {"origin": SHOP, **requested}, method="OPTIONS").status_code in (400, 403)


def test_other_pages_get_no_answer_and_no_permission_to_read_one() -> None:
    for method, headers in (("OPTIONS", PREFLIGHT), ("GET", {"authorization": "Bearer k-1"})):
        answer = ask("/who", {"origin": "https://shop.example.evil.example", **headers}, method=method)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pages_of_other_origins_may_not_read_probes() -> None:
    for origin in (SHOP, "https://evil.example"):
        answer = ask("/healthz", {"origin": origin})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]
