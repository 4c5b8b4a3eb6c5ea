"""`/metrics`: what is read of the gateway's parts whenever the figures are shown, and the route that shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.entrance import Caller
from gateway.auth.http import RequireCaller
from gateway.calls.admission import Admission
from gateway.calls.live import LiveCalls
from gateway.http import examples
from gateway.http.errors import refusals
from gateway.http.routes import AT_THE_ENTRANCE
from gateway.http.telephony import CarrierFigures
from gateway.net.server import Drain
from gateway.net.sockets import OPEN_SOCKETS, Side
from gateway.recording.finisher import Finisher
from gateway.state.write_behind import WriteBehind
from gateway.telemetry import names
from gateway.telemetry.figures import Figures, Labels
from gateway.telemetry.writing import CONTENT_TYPE, FiguresText
from gateway.tools.pool import McpPool
from sessions.stores.store_meter import StoreMeter


class Measured(Protocol):
    """The parts of the gateway of which figures are read."""

    drain: Drain
    ready: bool
    live_calls: LiveCalls
    admission: Admission
    write_behind: WriteBehind
    store_meter: StoreMeter
    tickets: CarrierTickets
    finisher: Finisher
    mcp: McpPool

    @property
    def telephony(self) -> CarrierFigures:
        """The telephone protocols."""
        ...


def read_from(figures: Figures, gateway: Measured) -> None:
    """Have the gateway's parts read whenever the figures are shown. Called once."""
    figures.read_one(names.READY, lambda: gateway.ready and not gateway.drain.draining)
    figures.read_one(names.DRAINING, lambda: gateway.drain.draining)
    _read_calls(figures, gateway)
    _read_stores(figures, gateway)
    figures.read(names.MCP_UP, lambda: _mcp_up(gateway.mcp))
    figures.read(names.MCP_CONNECTS, gateway.mcp.connects)
    figures.read_one(names.RECORDINGS_WAITING, lambda: gateway.finisher.waiting)
    figures.read_one(names.RECORDINGS_FAILED, lambda: gateway.finisher.failed)
    figures.read(names.CARRIER_EVENTS, lambda: gateway.telephony.events())
    figures.read(names.TICKETS_REFUSED, gateway.tickets.counts.items)
    figures.read(names.SOCKETS_OPEN, lambda: _sockets(gateway.telephony))


def _read_calls(figures: Figures, gateway: Measured) -> None:
    calls = gateway.live_calls
    figures.read(names.LIVE_CALLS, lambda: Counter((one.agent, one.protocol) for one in calls.all()).items())
    figures.read_one(names.CALL_CAPACITY, lambda: gateway.admission.capacity)
    figures.read_one(names.CALLS_BROKEN, lambda: calls.broken)
    figures.read(names.LEGS_OPEN, lambda: _legs_open(calls))
    figures.read_one(names.TOOLS_RUNNING, lambda: sum(one.running.tools_running for one in calls.all()))


def _read_stores(figures: Figures, gateway: Measured) -> None:
    report, meter = gateway.write_behind.report, gateway.store_meter
    for family in report.figures():
        figures.read_one(family, _figure_of(report.figures, family))
    figures.read_one(names.STORE_THROTTLED, lambda: meter.throttled)
    figures.read(
        names.STORE_UNITS, lambda: [((operation,), units / 100) for operation, units in meter.request_units.items()]
    )
    figures.read(names.STORE_OPERATIONS, meter.operations.items)
    figures.read(names.STORE_TIME, lambda: [((operation,), ms / 1000) for operation, ms in meter.operation_ms.items()])


def _figure_of(read: Callable[[], dict[names.Family, float]], family: names.Family) -> Callable[[], float]:
    return lambda: read()[family]


def _legs_open(calls: LiveCalls) -> Iterable[tuple[Labels, float]]:
    return Counter((one.model,) for one in calls.all() if one.running.model_open).items()


def _mcp_up(mcp: McpPool) -> Iterable[tuple[Labels, float]]:
    return [((server,), mcp.problem(server) is None) for server in sorted(mcp.servers)]


def _sockets(telephony: CarrierFigures) -> Iterable[tuple[Labels, float]]:
    callers = OPEN_SOCKETS[Side.CALLER] + telephony.tcp_sockets
    return [((Side.CALLER,), callers), ((Side.MODEL,), OPEN_SOCKETS[Side.MODEL])]


def metrics_router(text: FiguresText, caller: RequireCaller) -> APIRouter:
    """The route that shows the figures; it asks for an API key where the server has any."""
    router = APIRouter()
    key = Depends(caller)

    @router.get(
        "/metrics",
        tags=["probes"],
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": examples.FIGURES}}},
            **refusals(*AT_THE_ENTRANCE),
        },
    )
    async def metrics(caller: Caller = key) -> Response:
        """Figures in Prometheus' text form."""
        return Response(await text.whole(), headers={"content-type": CONTENT_TYPE})

    return router
