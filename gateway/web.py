"""The HTTP side of one process: the API, the probes, the figures for a monitor, and the page at `/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders

from gateway import __version__
from gateway.api import examples, shapes
from gateway.api.bodies import BodyMiddleware
from gateway.api.errors import Responses, add_error_answers
from gateway.api.openapi import DocumentedApp
from gateway.api.routes import AgentList, ApiParts, api_router
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.http import AsgiApp, Message, OriginMiddleware, Receive, RequireCaller, Scope, Send
from gateway.auth.origins import OriginRules
from gateway.live import CallBoard
from gateway.recording.blobs import Blobs
from gateway.server import Drain
from gateway.statekeeper import StateKeeper
from gateway.switchboard import Switchboard
from sessions.ports import Clock, Json
from sessions.stores.contract import Store

CONSOLE = Path(__file__).resolve().parent.parent / "console"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
POLICY = {
    # The page needs nothing from anywhere else, its socket included.
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Modules of two versions do not fit together: browsers shall ask whether theirs is the newest.
    "cache-control": "no-cache",
}


class Served(AgentList, Protocol):
    """What the web needs of the gateway."""

    drain: Drain
    ready: bool
    store: Store
    blobs: Blobs
    keeper: StateKeeper
    board: CallBoard
    switchboard: Switchboard

    async def forget(self, tenant: str, session_id: str) -> None:
        """Leave nothing of a session."""
        ...

    def problems(self) -> list[str]:
        """What does not work though calls are taken."""
        ...


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the routes work on."""

    gateway: Served
    rules: OriginRules
    entrance: Entrance
    secrets: ClientSecrets
    clock: Clock
    max_body_bytes: int


def make_app(parts: WebParts, running: Callable[[], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The application; `running` is its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running():
            yield

    app = DocumentedApp(
        title="Patchbay",
        version=__version__,
        summary="A gateway for voice agents",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.router.redirect_slashes = False
    app.router.default = StaticFiles(directory=CONSOLE, html=True)  # not mounted: that would hide a wrong method
    # The last that is added comes first.
    app.add_middleware(OriginMiddleware, rules=parts.rules, open_paths=PROBES)
    app.add_middleware(PolicyMiddleware)
    app.add_middleware(BodyMiddleware, max_bytes=parts.max_body_bytes)
    app.add_middleware(HeadMiddleware)
    add_error_answers(app)
    _probes(app, parts.gateway)
    app.add_routes(api_router(_api_parts(parts)))
    return app


class PolicyMiddleware:
    """Tells browsers what an answer may do, and that they shall not keep it."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in POLICY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_policy)


class HeadMiddleware:
    """Answers HEAD wherever GET is answered, without the body: monitors ask so. Source: RFC 9110, 9.1 and 9.3.2."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, without_body)


def _api_parts(parts: WebParts) -> ApiParts:
    gateway = parts.gateway
    return ApiParts(
        agents=gateway,
        store=gateway.store,
        blobs=gateway.blobs,
        calls=gateway.board,
        secrets=parts.secrets,
        clock=parts.clock,
        caller=RequireCaller(parts.entrance),
        forget=gateway.forget,
    )


def _probes(app: FastAPI, gateway: Served) -> None:
    @app.get("/healthz", tags=["probes"], responses=_example({"status": "ok"}))
    async def healthz() -> shapes.Alive:
        """The process lives."""
        return shapes.Alive()

    @app.get(
        "/readyz",
        tags=["probes"],
        response_model=shapes.Readiness,
        responses=_example({"status": "ready", "problems": []}) | {503: _no_calls()},
    )
    async def readyz() -> JSONResponse:
        """New calls are taken."""
        state = "draining" if gateway.drain.draining else "ready" if gateway.ready else "starting"
        return JSONResponse({"status": state, "problems": gateway.problems()}, 200 if state == "ready" else 503)

    @app.get(
        "/metrics",
        tags=["probes"],
        response_class=PlainTextResponse,
        responses={200: {"content": {"text/plain": {"example": examples.FIGURES}}}},
    )
    async def metrics() -> str:
        """Figures in Prometheus' text form."""
        board, switchboard = gateway.board, gateway.switchboard
        figures = {
            "patchbay_live_calls": len(board),
            "patchbay_calls_ended_total": board.served,
            "patchbay_calls_broken_total": board.broken,
            "patchbay_model_legs_opened_total": switchboard.model_legs_opened,
            "patchbay_store_healthy": int(gateway.keeper.healthy),
            "patchbay_documents_waiting": gateway.keeper.waiting,
            "patchbay_documents_spooled_total": gateway.keeper.counts.spooled,
            "patchbay_documents_lost_total": gateway.keeper.counts.lost,
        }
        lines = [f"{name} {value}\n" for name, value in figures.items()]
        for code, count in switchboard.model_problems.items():
            lines.append(f'patchbay_model_problems_total{{code="{code}"}} {count}\n')
        return "".join(lines)


def _no_calls() -> dict[str, object]:
    shown = _example({"status": "draining", "problems": []})[200]
    return {"model": shapes.Readiness, **shown, "description": "No calls now"}


def _example(body: Json) -> Responses:
    return {200: {"content": {"application/json": {"example": body}}}}
