"""A resource of Azure Communication Services, served over HTTP at an address of this machine while one call lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, TypeAlias

from gateway.softphone.far_ends.acs_resource import AcsResource, AnswerOrder, ServiceAnswer, ServiceRequest
from gateway.softphone.lines.line import LineRefused
from sessions.ports import Clock

RING_S = 20.0  # the gateway gives its action up before
STOP_S = 1.0

Take: TypeAlias = Callable[[ServiceRequest], ServiceAnswer]
Stop: TypeAlias = Callable[[], Awaitable[None]]
# Serves requests from now on, and returns what stops that. Raises LineRefused.
Serve: TypeAlias = Callable[[Take], Awaitable[Stop]]


class AcsService:
    """Serves a resource, and tells what the gateway has asked of it."""

    def __init__(self, resource: AcsResource, serve: Serve, clock: Clock) -> None:
        self._resource = resource
        self._serve = serve
        self._clock = clock
        self._asked = asyncio.Event()

    async def start(self) -> Stop:
        """Serve from now on; returns what stops that. Raises LineRefused."""
        return await self._serve(self._take)

    async def answered(self) -> AnswerOrder:
        """Wait until the gateway has answered the call. Raises LineRefused."""
        resource = self._resource
        try:
            async with asyncio.timeout(RING_S):
                await self._until(lambda: bool(resource.order or resource.turned_down or resource.refusals))
        except TimeoutError:
            raise LineRefused(
                f"the gateway has not answered the call within {RING_S:g} s; start the server with the same settings"
            ) from None
        if resource.turned_down is not None:
            raise LineRefused(f"the gateway does not take the call: {resource.turned_down}")
        if resource.order is None:
            raise LineRefused(f"the gateway's action was refused: {resource.refusals[0]}")
        return resource.order

    async def ended(self) -> None:
        """Wait until the gateway has ended the call."""
        await self._until(lambda: self._resource.ended)

    @property
    def refusals(self) -> list[str]:
        """The actions that were not taken, and why."""
        return self._resource.refusals

    def _take(self, request: ServiceRequest) -> ServiceAnswer:
        answer = self._resource.take(request, self._clock.wall_s())
        self._asked.set()
        return answer

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            self._asked.clear()
            await self._asked.wait()


def http_service(host: str, port: int) -> Serve:
    """What serves at an address of this machine."""

    async def serve(take: Take) -> Stop:
        web: Any = import_module("aiohttp.web")

        async def answer(request: Any) -> Any:
            headers = {name.lower(): value for name, value in request.headers.items()}
            given = take(ServiceRequest(request.method, request.raw_path, headers, await request.read()))
            return web.Response(status=given.status, body=given.body, content_type="application/json")

        runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            why = error.strerror or type(error).__name__
            raise LineRefused(
                f"nothing can listen at {host}:{port}, where carriers.acs.endpoint says that Azure is: {why}; "
                "end the call that is there, or choose another port and start the server again"
            ) from error
        stop: Stop = runner.cleanup
        return stop

    return serve
