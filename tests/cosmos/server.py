"""The stand-in on a loopback port: sockets, signatures, faults and counters around the service."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from cosmos import control
from cosmos.auth import KEY, Guard, Issuer
from cosmos.calls import ABOUT_DATA, READS, WRITES, Call, call_of, written
from cosmos.clock import ServerClock
from cosmos.faults import Fault
from cosmos.refusals import Refusal
from cosmos.service import Answer, Service, refused
from cosmos.tls import self_signed

HOST = "127.0.0.1"
# Promises that every new stand-in breaks, whoever makes it: the tests of a store are run so, to see them fail.
BROKEN: tuple[str, ...] = ()
REGIONS = ("West Europe", "North Europe")
CODES = {408: "RequestTimeout", 410: "Gone", 429: "TooManyRequests", 449: "RetryWith", 503: "ServiceUnavailable"}


@dataclass(slots=True)
class Counters:
    """What came and what went since the start or the last reset."""

    requests: Counter[str] = field(default_factory=Counter)  # by operation, faults included
    answers: Counter[int] = field(default_factory=Counter)  # by status
    charge: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # request units by operation
    conflicts: int = 0  # 409 and 412, in batches too
    throttled: int = 0
    cut: int = 0  # connections closed without an answer

    def reset(self) -> None:
        """Begin again."""
        self.requests.clear()
        self.answers.clear()
        self.charge.clear()
        self.conflicts = self.throttled = self.cut = 0


class StandIn:
    """The whole server. `async with` starts and stops it; what it holds outlives a stop, so it can be started again."""

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = KEY,
        ranges: int | Sequence[str] = 1,
        broken: Sequence[str] = (),
        write_regions: int = 1,
        tls: bool = False,
    ) -> None:
        self.key = key
        self.clock = ServerClock()
        self.issuer = Issuer()
        self.counters = Counters()
        self.faults: list[Fault] = []
        self.journal: list[list[dict[str, Any]]] | None = None  # each write that was committed, once somebody asks
        self.service = Service(self.clock, ranges, (*broken, *BROKEN))
        self.port = port
        self._write_regions = write_regions
        self._tls = tls
        self._guard = Guard(key, self.issuer, self.service.broken)
        self._cleared = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self.away_s: float | None = None
        self.woken = asyncio.Event()  # for the program that runs this server

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}/"

    async def start(self) -> None:
        """Listen: on a free port at first, on the same one later."""
        context = _tls_context() if self._tls else None
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port, ssl_context=context, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are there."""
        if self._runner is not None:
            self._wake()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> StandIn:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def inject(self, fault: Fault) -> Fault:
        """Set a fault."""
        self.faults.append(fault)
        if fault.kind == "lag":
            for shard in self.service.shards():
                shard.lag()
        return fault

    def clear_faults(self) -> None:
        """Behave again: what hangs is cut, and what lagged has caught up."""
        self.faults.clear()
        self._wake()
        for shard in self.service.shards():
            shard.catch_up()

    def leave_for(self, seconds: float) -> None:
        """Ask the program that runs this server to refuse connections for a while; what is stored stays."""
        self.away_s = seconds
        self.woken.set()

    def _wake(self) -> None:
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        path = request.rel_url.raw_path
        if path.startswith(control.PREFIX):
            return await control.answer(self, request.method, path.removeprefix(control.PREFIX), body)
        try:
            call = call_of(request.method, path, request.headers, body)
            self._guard.check(request.method, call.segments, call.operation, request.headers)
        except Refusal as refusal:
            return self._response(None, refused(refusal))
        self.counters.requests[call.operation] += 1
        fault = next((fault for fault in self.faults if _fits(fault, call.operation)), None)
        if fault is None or fault.kind == "lag":
            return self._response(call, self._answer(call, lags=fault is not None))
        return await self._faulty(request, call, fault)

    async def _faulty(self, request: web.BaseRequest, call: Call, fault: Fault) -> web.StreamResponse:
        answer = self._answer(call, lags=False) if fault.after_commit else None
        if fault.kind == "status":
            return self._response(call, _failed(fault))
        if fault.kind == "odd":
            return web.Response(status=fault.status, body=fault.body, headers={"Content-Type": "application/json"})
        if fault.kind == "bare":
            return self._response(call, _without_etags(self._answer(call, lags=False)))
        if fault.kind == "delay":
            with suppress(TimeoutError):  # or until the fault is cleared
                await asyncio.wait_for(self._cleared.wait(), fault.delay_ms / 1000)
            return self._response(call, answer or self._answer(call, lags=False))
        if fault.kind == "hang":
            await self._cleared.wait()
        self.counters.cut += 1
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _answer(self, call: Call, lags: bool) -> Answer:
        if call.operation == "account":
            return Answer(200, orjson.dumps(self._account()))
        self.service.lags = lags
        try:
            answer = self.service.answer(call)
        except Refusal as refusal:
            return refused(refusal)
        if self.journal is not None and call.operation in WRITES and answer.status < 300 and answer.status != 207:
            self.journal.append(written(call))
        return answer

    def _account(self) -> dict[str, object]:
        # The second region has another address, as it has in Azure.
        addresses = [self.url, self.url.replace(HOST, "localhost")]
        regions = [
            {"name": name, "databaseAccountEndpoint": address} for name, address in zip(REGIONS, addresses, strict=True)
        ][: max(1, self._write_regions)]
        return {
            "_self": "",
            "id": "stand-in",
            "_rid": "stand-in",
            "_dbs": "//dbs/",
            "writableLocations": regions,
            "readableLocations": regions,
            "enableMultipleWriteLocations": self._write_regions > 1,
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        }

    def _response(self, call: Call | None, answer: Answer) -> web.Response:
        counters = self.counters
        counters.answers[answer.status] += 1
        if call is not None:
            counters.charge[call.operation] += answer.charge
        if answer.status in (409, 412) or (answer.status == 207 and _conflicts(answer)):
            counters.conflicts += 1
        counters.throttled += answer.status == 429
        headers = {"x-ms-activity-id": str(uuid4()), "Content-Type": "application/json", **answer.headers}
        if "charge" not in self.service.broken:
            headers["x-ms-request-charge"] = f"{answer.charge:.2f}"
        return web.Response(status=answer.status, body=answer.body, headers=headers)


def _fits(fault: Fault, operation: str) -> bool:
    if operation not in (READS if fault.kind == "lag" else ABOUT_DATA) and operation not in fault.operations:
        return False
    return fault.strikes(operation)


def _failed(fault: Fault) -> Answer:
    headers = {}
    if fault.retry_after_ms is not None:
        headers["x-ms-retry-after-ms"] = str(fault.retry_after_ms)
    message = "The stand-in was told to answer so."
    refusal = Refusal(fault.status, CODES.get(fault.status, "Error"), message, fault.substatus)
    return refused(refusal, headers)


def _without_etags(answer: Answer) -> Answer:
    headers = {name: value for name, value in answer.headers.items() if name != "etag"}
    body = re.sub(rb'"(_etag|eTag)":', rb'"gone":', answer.body)
    return replace(answer, body=body, headers=headers)


def _conflicts(answer: Answer) -> bool:
    return any(result["statusCode"] in (409, 412) for result in orjson.loads(answer.body))


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        file.write_bytes(self_signed(HOST))
        context.load_cert_chain(file)
    return context
