"""The HTTP application of one process: the API, health probes, metrics, and the page at `/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders

from gateway import __version__
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.http import AsgiApp, Message, OriginMiddleware, Receive, RequireCaller, Scope, Send
from gateway.auth.origins import OriginRules
from gateway.blobs.contract import Blobs
from gateway.calls.live import LiveCalls
from gateway.clock import loop_s
from gateway.config.settings import Settings
from gateway.http import shapes
from gateway.http.bodies import BodyMiddleware
from gateway.http.cursors import Cursors
from gateway.http.downloads import AS_HEAD
from gateway.http.errors import Responses, add_error_answers
from gateway.http.metrics import metrics_router
from gateway.http.openapi import DocumentedApp
from gateway.http.routes import AgentList, ApiParts, api_router
from gateway.http.telephony import CarrierRoutes, carrier_routes
from gateway.http.traces import TraceLinks
from gateway.net.server import Drain
from gateway.state.write_behind import WriteBehind
from gateway.telemetry.metrics import Metrics
from sessions.ports import Clock, Json, JsonObject
from sessions.stores.contract import Document, Store

CONSOLE = Path(__file__).resolve().parents[2] / "console"
PROBES = frozenset({"/healthz", "/readyz"})
POLICY = {
    # The page, its socket included, loads nothing from other origins.
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # JavaScript modules of different versions do not work together, so browsers must check for a newer version.
    "cache-control": "no-cache",
}


class Served(AgentList, Protocol):
    """What the HTTP application needs from the gateway."""

    drain: Drain
    ready: bool
    store: Store
    blobs: Blobs
    write_behind: WriteBehind
    live_calls: LiveCalls
    metrics: Metrics

    async def forget(self, tenant: str, session_id: str) -> None:
        """Remove a session completely."""
        ...

    def problems(self) -> list[str]:
        """What does not work, although calls are taken."""
        ...


def _kept_only(session: Document, score: Document) -> None:
    """The score goes nowhere but into the store."""


@dataclass(frozen=True, slots=True)
class WebParts:
    """The parts that the HTTP application uses."""

    gateway: Served
    rules: OriginRules
    entrance: Entrance
    secrets: ClientSecrets
    clock: Clock
    settings: Settings
    alive_elsewhere: Callable[[str | None], Awaitable[bool]]  # whether another instance with this boot id is alive
    telephony: Sequence[CarrierRoutes] = ()
    # Takes the documents of a session and of its new score, beside the store.
    scored: Callable[[Document, Document], None] = _kept_only


def make_app(parts: WebParts, running: Callable[[], AbstractAsyncContextManager[None]]) -> FastAPI:
    """Make the application; `running` is its lifespan."""

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
    # Set as the default and not mounted: a mount would answer 404 where a wrong method must give 405.
    app.router.default = StaticFiles(directory=CONSOLE, html=True)
    # The middleware that is added last runs first.
    app.add_middleware(OriginMiddleware, rules=parts.rules, open_paths=PROBES)
    app.add_middleware(PolicyMiddleware)
    app.add_middleware(BodyMiddleware, max_bytes=parts.settings.max_body_bytes, now_s=loop_s)
    app.add_middleware(HeadMiddleware)
    add_error_answers(app)
    _probes(app, parts.gateway)
    app.add_routes(metrics_router(parts.gateway.metrics.text, RequireCaller(parts.entrance)))
    app.add_routes(api_router(_api_parts(parts)))
    app.router.routes.extend(carrier_routes(parts.telephony))
    return app


class PolicyMiddleware:
    """Adds security and caching headers to every answer."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in POLICY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_policy)


class HeadMiddleware:
    """Answers HEAD like GET but without the body, because monitors use it. Source: RFC 9110, 9.1 and 9.3.2."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", AS_HEAD: True}, receive, without_body)


def _api_parts(parts: WebParts) -> ApiParts:
    gateway, settings = parts.gateway, parts.settings
    return ApiParts(
        agents=gateway,
        store=gateway.store,
        blobs=gateway.blobs,
        calls=gateway.live_calls,
        secrets=parts.secrets,
        clock=parts.clock,
        caller=RequireCaller(parts.entrance),
        forget=gateway.forget,
        # The store's name is the same in all processes that use it, and holds no key.
        cursors=Cursors(settings.store_url.partition("?")[0]),
        traces=TraceLinks(settings.telemetry.trace, settings.trace_url),
        scored=parts.scored,
        alive_elsewhere=parts.alive_elsewhere,
    )


def _probes(app: FastAPI, gateway: Served) -> None:
    @app.get("/healthz", tags=["probes"], responses=_example({"status": "ok"}))
    async def healthz() -> shapes.Alive:
        """Whether the process is alive."""
        return shapes.Alive()

    @app.get(
        "/readyz",
        tags=["probes"],
        response_model=shapes.Readiness,
        responses=_example(_readiness("ready")) | {503: _no_calls()},
    )
    async def readyz() -> JSONResponse:
        """Whether new calls are taken."""
        state = "draining" if gateway.drain.draining else "ready" if gateway.ready else "starting"
        written = gateway.write_behind
        body = _readiness(
            state, store=written.report.state, spooled_documents=written.report.beside, problems=gateway.problems()
        )
        return JSONResponse(body, 200 if state == "ready" else 503)


def _no_calls() -> dict[str, object]:
    shown = _example(_readiness("draining"))[200]
    return {"model": shapes.Readiness, **shown, "description": "New calls are not taken now"}


def _readiness(
    status: str, *, store: str = "ok", spooled_documents: int = 0, problems: Sequence[str] = ()
) -> JsonObject:
    return {"status": status, "store": store, "spooled_documents": spooled_documents, "problems": list(problems)}


def _example(body: Json) -> Responses:
    return {200: {"content": {"application/json": {"example": body}}}}
