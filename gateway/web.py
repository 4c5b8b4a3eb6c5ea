"""The HTTP side of one process: the API, the probes, the figures for a monitor, and the page at `/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from gateway import __version__
from gateway.api.routes import AgentList, ApiParts, api_router
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.http import EntranceRefused, OriginMiddleware, answer_refusal, require_caller
from gateway.auth.origins import OriginRules
from gateway.live import CallBoard
from gateway.recording.blobs import Blobs
from gateway.server import Drain
from gateway.statekeeper import StateKeeper
from gateway.switchboard import Switchboard
from sessions.ports import Clock
from sessions.stores.contract import Store

CONSOLE = Path(__file__).resolve().parent.parent / "console"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# The page needs nothing from anywhere else, its socket included.
PAGE_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


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


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the routes work on."""

    gateway: Served
    rules: OriginRules
    entrance: Entrance
    secrets: ClientSecrets
    clock: Clock


def make_app(parts: WebParts, running: Callable[[], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The application; `running` is its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running():
            yield

    app = FastAPI(
        title="Patchbay",
        version=__version__,
        summary="A gateway for voice agents",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.add_middleware(OriginMiddleware, rules=parts.rules, open_paths=PROBES)
    app.add_exception_handler(EntranceRefused, answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    _probes(app, parts.gateway)
    app.include_router(api_router(_api_parts(parts)))

    @app.middleware("http")
    async def page_policy(request: Request, call_next: Callable[[Request], object]) -> Response:
        response: Response = await call_next(request)  # type: ignore[misc]
        response.headers.setdefault("content-security-policy", PAGE_POLICY)
        response.headers.setdefault("x-content-type-options", "nosniff")
        response.headers.setdefault("referrer-policy", "no-referrer")
        # Modules of two versions do not fit together: browsers shall ask whether theirs is the newest.
        response.headers.setdefault("cache-control", "no-cache")
        return response

    app.mount("/", StaticFiles(directory=CONSOLE, html=True), name="console")
    return app


def _api_parts(parts: WebParts) -> ApiParts:
    gateway = parts.gateway
    return ApiParts(
        agents=gateway,
        store=gateway.store,
        blobs=gateway.blobs,
        calls=gateway.board,
        secrets=parts.secrets,
        clock=parts.clock,
        caller=require_caller(parts.entrance),
        forget=gateway.forget,
    )


def _probes(app: FastAPI, gateway: Served) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], responses={503: {"description": "Not ready, or draining"}})
    async def readyz() -> JSONResponse:
        """New calls are taken."""
        state = "draining" if gateway.drain.draining else "ready" if gateway.ready else "starting"
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @app.get("/metrics", tags=["probes"], response_class=PlainTextResponse)
    async def metrics() -> str:
        """Figures in Prometheus' text form."""
        board, switchboard = gateway.board, gateway.switchboard
        figures = {
            "patchbay_live_calls": len(board),
            "patchbay_calls_ended_total": board.served,
            "patchbay_calls_broken_total": board.broken,
            "patchbay_model_legs_opened_total": switchboard.model_legs_opened,
            "patchbay_store_healthy": int(gateway.keeper.healthy),
            "patchbay_documents_spooled_total": gateway.keeper.counts.spooled,
            "patchbay_documents_lost_total": gateway.keeper.counts.lost,
        }
        return "".join(f"{name} {value}\n" for name, value in figures.items())


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """A request whose fields are wrong, in the one error shape."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    body = {"type": "invalid_request_error", "code": "invalid_value", "message": first["msg"], "param": param}
    return JSONResponse({"error": body}, 400)
