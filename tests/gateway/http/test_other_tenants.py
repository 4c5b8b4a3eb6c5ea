"""Another tenant's session looks at every route as if it did not exist, and cursors belong to one list."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.routing import BaseRoute, Route
from support.api_world import RECORD, served
from support.virtual import run

from gateway.app import Gateway
from gateway.blobs.folder import FolderBlobs
from gateway.calls.live import LiveCall
from sessions.record import CallSummary
from sessions.stores.documents import session_document
from sessions.stores.sqlite import SqliteStore

OURS, THEIRS = "ours-key-of-thirty-two-characters", "their-key-of-thirty-two-character"
KEYS = f"default:{OURS},shop:{THEIRS}"
OWNED = "sess_a"  # a session of ours, with a recording, an event log and a live call
UNKNOWN = "sess_x"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Talk:
    """A live call that goes on until it is hung up."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.call = self
        self.turns: list[Any] = []

    async def run(self) -> None:
        await self.over.wait()

    def hang_up(self, reason: str, code: int, words: str) -> None:
        self.over.set()

    def summary(self, now_ms: int) -> CallSummary:
        return CallSummary()


def table(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Every route of the application, those of its routers included."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:  # what FastAPI keeps of an included router
            yield from table(cast(Any, route).original_router.routes)


def session_routes(gateway: Gateway) -> list[tuple[str, str]]:
    """Method and path of every route whose path names a session."""
    found = []
    for route in table(gateway.app.routes):
        if "{" in route.path:
            assert route.path.count("{") == route.path.count("{session_id}") == 1
            found += [(method, route.path) for method in route.methods or ()]
    return found


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the operations on stores and blobs, as they are called."""
    done: list[str] = []

    def count(kind: type, name: str) -> None:
        inner: Callable[..., Any] = getattr(kind, name)

        def counted(self: Any, *given: Any, **named: Any) -> Any:
            done.append(name)
            return inner(self, *given, **named)

        monkeypatch.setattr(kind, name, counted)

    for name in ("get", "query", "sessions", "put", "put_many", "delete_session"):
        count(SqliteStore, name)
    for name in ("size", "read", "put_file", "delete_session"):
        count(FolderBlobs, name)
    return done


def test_every_route_answers_for_a_foreign_session_as_for_one_that_does_not_exist(
    tmp_path: Path, operations: list[str]
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        talk = Talk()
        gateway.live_calls.start(LiveCall(OWNED, "default", "one", "realtime", 1.0, cast(Any, talk)))
        routes = session_routes(gateway)
        assert len(routes) >= 6

        async def asked(method: str, path: str, session_id: str) -> tuple[Any, ...]:
            operations.clear()
            answer = await client.request(method, path.replace("{session_id}", session_id), headers=bearer(THEIRS))
            return answer.status_code, answer.content, sorted(answer.headers.items()), tuple(operations)

        for method, path in routes:
            foreign, unknown = await asked(method, path, OWNED), await asked(method, path, UNKNOWN)
            assert foreign[0] == 404, (method, path)
            assert foreign == unknown, (method, path)
            assert not {"put", "put_many", "query", "size", "read"} & set(foreign[3])
        assert not talk.over.is_set()
        # For its owner each of them is there; DELETE finds the live call, and a score has to say something.
        for method, path in sorted(routes):
            answer = await client.request(method, path.replace("{session_id}", OWNED), headers=bearer(OURS))
            assert answer.status_code in (200, 202, 400 if path.endswith("/scores") else 409, 409), (method, path)
        assert talk.over.is_set()

    served(tmp_path, scenario, run, api_keys=KEYS)


@pytest.mark.parametrize(
    "guessed",
    [
        *("SESS_A", "sess_a%20", "sess_a%00", "sess_%61%0a", "..", "default%2Fsess_a", "..%2fdefault%2fsess_a", "*"),
        *("%25", "%ff", "%ED%B2%80", "s" * 3000, "'%20OR%201=1%20--", "session"),
    ],
)
def test_a_guessed_id_finds_nothing(tmp_path: Path, guessed: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for method, path in session_routes(gateway):
            answer = await client.request(method, path.replace("{session_id}", guessed), headers=bearer(THEIRS))
            assert answer.status_code in (404, 405), (method, path)
            assert answer.json()["error"]["code"].endswith(("not_found", "not_allowed"))

    served(tmp_path, scenario, api_keys=KEYS)


def test_a_list_is_read_on_by_its_own_cursors_only(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for tenant in ("default", "shop"):
            for number in range(3):
                record = replace(RECORD, tenant=tenant, session_id=f"s{number}", started_at=2000.0 + number)
                await gateway.store.put(session_document(record, ttl_s=None), None)

        async def page(key: str, after: str | None) -> httpx.Response:
            more = {} if after is None else {"after": after}
            return await client.get("/api/v1/sessions", params={"limit": 1, **more}, headers=bearer(key))

        first = (await page(OURS, None)).json()["next_cursor"]
        second = (await page(OURS, first)).json()
        assert [found["session_id"] for found in second["sessions"]] == ["s1"]
        stored = first.partition(".")[2]
        bad = [first + "A", first[:-2], first[1:], stored, "." + stored, "x." + stored, "", ".", "\x00", "nonsense"]
        bad += ["0" * 30_000, f"{first.partition('.')[0]}." + "A" * 3000, "é." + stored]
        bad += [base64.urlsafe_b64encode(b"[1, 2]").decode(), second["next_cursor"].partition(".")[0] + "." + stored]
        for key, cursors in ((OURS, bad), (THEIRS, [first, second["next_cursor"]])):
            for cursor in cursors:
                refused = await page(key, cursor)
                assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_cursor"), cursor[:80]

    served(tmp_path, scenario, api_keys=KEYS)
