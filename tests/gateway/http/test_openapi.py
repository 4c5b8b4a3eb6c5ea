"""Tests that OpenAPI matches what is served: whole example answers, the errors of each operation, who has access."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from support.api_world import BEARER, KEY, make_gateway, served

from gateway.app import Gateway

PROBES = {"/healthz", "/readyz"}
READS_RECORDS = "/api/v1/sessions"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The whole OpenAPI document."""

    async def main() -> Any:
        transport = httpx.ASGITransport(make_gateway(tmp_path_factory.mktemp("gateway")).app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            return (await client.get("/api/openapi.json")).json()

    return asyncio.run(main())


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and operation of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(document: Any, schema: Any, value: Any) -> None:
    """Raises if a value does not match the schema."""
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def well(operation: Any) -> tuple[int, Any]:
    """Status and content of the successful answer."""
    [status] = [status for status in operation["responses"] if status in ("200", "202")]
    return int(status), operation["responses"][status]["content"]


def test_every_operation_shows_a_whole_answer(document: Any) -> None:
    for _, path, operation in operations(document):
        for kind, content in well(operation)[1].items():
            assert content["example"], (path, kind)
            check(document, content["schema"], content["example"])


def test_every_body_has_an_example(document: Any) -> None:
    with_body = [operation["requestBody"] for _, _, operation in operations(document) if "requestBody" in operation]
    assert with_body
    for body in with_body:
        content = body["content"]["application/json"]
        for example in content["examples"].values():
            check(document, content["schema"], example["value"])


def test_every_error_is_shown_in_the_one_shape(document: Any) -> None:
    shape = {"$ref": "#/components/schemas/ErrorAnswer"}
    for _, path, operation in operations(document):
        if path in PROBES:
            continue
        for status, answer in operation["responses"].items():
            if status.startswith("2") or status == "304":
                continue
            content = answer["content"]["application/json"]
            assert content["schema"] == shape, (path, status)
            assert status == "default" or content["examples"], (path, status)
            for code, example in content.get("examples", {}).items():
                check(document, shape, example["value"])
                assert example["value"]["error"]["code"] == code
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert not [path for _, path, operation in operations(document) if "422" in operation["responses"]]


def test_each_operation_names_the_errors_it_can_give(document: Any) -> None:
    for method, path, operation in operations(document):
        if path in PROBES:
            continue
        wanted = {"400", "401", "403", "default"}
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"503"} if path.startswith(READS_RECORDS) else set()
        wanted |= {"409"} if method == "DELETE" or path.endswith(("/recording", "/events")) else set()
        wanted |= {"409"} if (method, path.rpartition("/")[2]) == ("POST", "scores") else set()
        wanted |= {"408", "413"} if "requestBody" in operation else set()
        wanted |= {"206", "304", "412", "416"} if path.endswith(("/recording", "/events")) else set()
        wanted |= {"500"} if method == "GET" and "{" in path else set()
        assert set(operation["responses"]) - {"200", "202"} == wanted, (method, path)


def test_a_key_is_required_where_the_document_says_so(document: Any, tmp_path: Path) -> None:
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for method, path, operation in operations(document):
            answer = await client.request(method, path)
            guarded = operation.get("security") == [{name: []}]
            assert (answer.status_code == 401) == guarded, path
            assert guarded == (path not in PROBES)

    served(tmp_path, scenario, api_keys=KEY)


def test_the_answers_match_their_schemas(document: Any, tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for method, path, operation in operations(document):
            if method != "GET":
                continue
            status, contents = well(operation)
            answer = await client.get(path.replace("{session_id}", "sess_a"))
            kind = answer.headers["content-type"].partition(";")[0]
            assert (answer.status_code, kind in contents) == (status, True), (path, kind)
            check(document, contents[kind]["schema"], answer.json() if kind.endswith("/json") else answer.text)
        minted = await client.post("/v1/realtime/client_secrets", json={})
        schema = well(document["paths"]["/v1/realtime/client_secrets"]["post"])[1]["application/json"]
        check(document, schema["schema"], minted.json())
        assert minted.json()["session"].keys() == schema["example"]["session"].keys()
        deleted = await client.delete("/api/v1/sessions/sess_a")
        check(document, {"$ref": "#/components/schemas/Deleted"}, deleted.json())

    served(tmp_path, scenario)


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/v1/agents", {"params": [("a", "1")] * 100}),
    ("GET", "/api/v1/agents", {"headers": BEARER | {"api-key": "other"}}),
    ("GET", "/api/v1/agents", {}),
    ("GET", "/api/v1/agents", {"headers": {"Authorization": "Bearer other"}}),
    ("GET", "/api/v1/agents", {"headers": BEARER | {"Origin": "https://evil.example"}}),
    ("GET", "/api/v1/sessions", {"params": {"limit": 201}, "headers": BEARER}),
    ("GET", "/api/v1/sessions", {"params": {"after": "x"}, "headers": BEARER}),
    ("GET", "/api/v1/sessions/sess_x", {"headers": BEARER}),
    ("GET", "/api/v1/sessions/sess_x/transcript", {"headers": BEARER}),
    ("DELETE", "/api/v1/sessions/sess_x", {"headers": BEARER}),
    ("POST", "/api/v1/calls/sess_x/hang_up", {"headers": BEARER}),
    ("POST", "/v1/realtime/client_secrets", {"json": {"session": {"type": "transcription"}}, "headers": BEARER}),
    ("POST", "/v1/realtime/client_secrets", {"json": {"session": {"model": "x"}}, "headers": BEARER}),
    ("POST", "/v1/realtime/client_secrets", {"json": {"session": {"x": "x" * 70_000}}, "headers": BEARER}),
    (
        "POST",
        "/v1/realtime/client_secrets",
        {"content": "{", "headers": BEARER | {"Content-Type": "application/json"}},
    ),
]


@pytest.mark.parametrize(("method", "path", "given"), REFUSED)
def test_a_refusal_equals_its_example(
    document: Any, tmp_path: Path, method: str, path: str, given: dict[str, Any]
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.request(method, path, **given)
        shown = document["paths"][re.sub("sess_x", "{session_id}", path)][method.lower()]["responses"]
        examples = shown[str(refused.status_code)]["content"]["application/json"]["examples"].values()
        assert refused.json() in [example["value"] for example in examples]

    served(tmp_path, scenario, api_keys=KEY)
