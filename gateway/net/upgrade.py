"""Media sockets on the HTTP server's port: a connection with an upgrade on a media route moves from uvicorn to picows.

While `admit` decides, the connection is not read. Then the answer is either 101 and a `Receiver` gets the messages, or
an HTTP error in the OpenAI API's shape. uvicorn handles all other requests; this module adds limits on the size and
time of the request head, which uvicorn lacks.
Source: uvicorn 0.54, `httptools_impl.py`; RFC 6455, 4.2; RFC 9110, 15.5.22 (426).
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import select
import weakref
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.auth.requests import Refusal, UpgradeRequest, read_request
from gateway.guard import Boundary, ForeignTasks
from gateway.net.half_open import HalfOpen, HalfOpenConnection
from gateway.net.media_routes import Accepted, MediaRoute, MediaRoutes
from gateway.net.protocol import adopt
from gateway.net.reading import read_on
from gateway.net.sockets import PicowsSocket

log = logging.getLogger("patchbay.upgrade")

MAX_HEAD_BYTES = 64 * 1024
# In a request's ASGI extensions: a function that closes the connection, also in the middle of an answer.
CUT = "patchbay.cut"
_REFUSAL_LINGER_S = 5.0  # the time for a refused client to read the reason
_GOODBYE_S = 1.0  # the time for other clients to take data that is being sent

_DRAINING = Refusal(503, "draining", "This server is about to stop; try again.", retry_after_s=1)
_BUSY = Refusal(503, "busy", "Too many connections are being opened; try again.", retry_after_s=1)
_FAILED = Refusal(500, "internal_error", "The server had an internal error.")
_SLOW = Refusal(503, "admission_timeout", "The request could not be decided in time; try again.", retry_after_s=1)
_NO_UPGRADE = Refusal(426, "upgrade_required", "This address accepts only WebSocket, version 13.")
_BAD_UPGRADE = Refusal(400, "bad_upgrade", "The WebSocket handshake is not valid.")
_BIG_HEAD = Refusal(431, "head_too_large", "The request's head is too large.")


class Gate:
    """The state that all connections of one server share: the media routes, the limits, and the admission tasks."""

    def __init__(
        self,
        routes: Sequence[MediaRoute[Any]],
        draining: Callable[[], bool],
        half_open: HalfOpen,
        *,
        max_upgrades: int,
        admit_timeout_s: float,
        head_timeout_s: float,
        on_refused: Callable[[Refusal], None],
    ) -> None:
        """`on_refused` gets the refusals of upgrades that no opener decided on."""
        self.on_refused = on_refused
        self.routes = MediaRoutes(routes)
        self.draining = draining
        self.half_open = half_open
        self.max_upgrades = max_upgrades
        self.admit_timeout_s = admit_timeout_s
        self.head_timeout_s = head_timeout_s
        self.sockets: weakref.WeakSet[PicowsSocket] = weakref.WeakSet()
        self._opened = False
        self._tasks = ForeignTasks()
        self._admitting: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Admit upgrades from now on."""
        self._opened = True

    def shut(self) -> None:
        """Cancel all admissions, and abort the sockets that are still open."""
        for task in tuple(self._admitting):
            task.cancel()
        for socket in tuple(self.sockets):
            socket.abort()

    def turn_away(self) -> Refusal | None:
        """The reason why every upgrade is refused now, or None."""
        if not self._opened or self.draining():
            return _DRAINING
        return _BUSY if len(self._admitting) >= self.max_upgrades else None

    def start(self, admission: Callable[[], Any]) -> asyncio.Task[None]:
        """Run one admission in a task of its own. Call it only after `turn_away` has returned None."""
        assert self._opened
        task = self._tasks.start(admission(), _log_admission)
        self._admitting.add(task)
        task.add_done_callback(self._admitting.discard)
        return task


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, plus upgrades on media routes and limits for the request head."""

    def __init__(
        self,
        gate: Gate,
        half_open: HalfOpenConnection,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._gate = gate
        self._half_open: HalfOpenConnection | None = half_open  # until the request head is complete
        self._in_message = False  # between the end of a request's head and the end of its body
        # The media route of the request being read, and the route's variable segment.
        self._route: MediaRoute[Any] | None = None
        self._segment = ""
        self._admission: asyncio.Task[None] | None = None
        self._early = bytearray()  # data from a client that did not wait for the 101
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._half_open is not None:
            self._half_open.cut = transport.abort
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        if self._admission is not None:
            self._admission.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._admission is not None:
            self._early += data
            if len(self._early) > MAX_HEAD_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            self._abort_in(_GOODBYE_S)
            return
        except httptools.HttpParserUpgrade as upgrade:
            if self._route is not None and self._should_upgrade():
                self._early += data[upgrade.args[0] :]
                self._upgrade(self._route)
            elif self._should_upgrade():
                self.handle_websocket_upgrade()
            return
        if self._head_deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_BIG_HEAD)
        elif not self._in_message and (self.cycle is None or self.cycle.response_complete):
            # Line breaks before a head do not start one, but they have ended the keep-alive timer.
            self._begin_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        self._in_message = True
        self._route, self._segment = self._gate.routes.find(httptools.parse_url(self.url).path) or (None, "")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._in_message and self.cycle.response_complete:
            self.transport.close()  # the rest of the request's body is not wanted and has no deadline
        if self.transport.is_closing():
            self._abort_in(_REFUSAL_LINGER_S)
        super().on_response_complete()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._abort_in(_GOODBYE_S)

    def _begin_head(self) -> None:
        if self._head_deadline is not None:
            return
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(self._gate.head_timeout_s, self.transport.abort)
        if self._half_open is None:
            self._half_open = self._gate.half_open.enter(self.client[0] if self.client else "", self.transport.abort)

    def _end_head(self) -> None:
        if self._half_open is not None:
            self._gate.half_open.leave(self._half_open)
            self._half_open = None
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _abort_in(self, seconds: float) -> None:
        """Abort a closing transport after `seconds`: TLS would wait half a minute for the peer's close alert."""
        self.loop.call_later(seconds, self.transport.abort)

    def _should_upgrade(self) -> bool:
        if self._route is not None:
            return self._get_upgrade() == b"websocket"
        return super()._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        is_media = self._gate.routes.find(cycle.scope["raw_path"]) is not None
        if is_media and cycle.scope["method"] in ("GET", "HEAD"):
            super()._start_asgi_task(cycle, _answer_upgrade_required)
        else:
            cast("dict[str, Any]", cycle.scope).setdefault("extensions", {})[CUT] = self._cut
            super()._start_asgi_task(cycle, app)

    def _cut(self) -> None:
        """Close the connection after what is written. A client that does not take it has `_REFUSAL_LINGER_S`."""
        self.transport.close()
        self._abort_in(_REFUSAL_LINGER_S)

    def _upgrade(self, route: MediaRoute[Any]) -> None:
        refusal = self._gate.turn_away()
        if refusal is not None:
            self._turn_away(refusal)
            return
        try:
            request = self._read_request(route)
            key = self._read_handshake(request)
        except ValueError:
            self._refuse(_BAD_UPGRADE)
            return
        if request.headers.get("sec-websocket-version") != "13":
            self._refuse(_NO_UPGRADE)
            return
        self.transport.pause_reading()
        self._admission = self._gate.start(lambda: self._admit(route, request, key))

    def _read_request(self, route: MediaRoute[Any]) -> UpgradeRequest:
        return read_request(
            route.path,
            httptools.parse_url(self.url).query or b"",
            self.headers,
            peer=self.client[0] if self.client else "",
            secure=self.scheme == "https",
            target=self.url.decode("latin-1"),
            segment=self._segment,
            hosts_public=route.hosts_public,
        )

    def _read_handshake(self, request: UpgradeRequest) -> str:
        """The handshake's key. Raises ValueError if the head breaks RFC 6455, 4.2.1."""
        keys = request.headers.all("sec-websocket-key")
        busy = self.cycle is not None and not self.cycle.response_complete  # an earlier request on this connection
        body = "transfer-encoding" in request.headers or request.headers.get("content-length") not in (None, "0")
        if self.scope["method"] != "GET" or self.parser.get_http_version() != "1.1" or busy or body or len(keys) != 1:
            raise ValueError("not a WebSocket handshake")
        try:
            if len(b64decode(keys[0], validate=True)) == 16:
                return keys[0]
        except binascii.Error:
            pass
        raise ValueError("not a WebSocket key")

    async def _admit(self, route: MediaRoute[Any], request: UpgradeRequest, key: str) -> None:
        answer: Any = _FAILED
        with Boundary(_log_admission):
            try:
                async with asyncio.timeout(self._gate.admit_timeout_s):
                    answer = await route.admit(request)
            except TimeoutError:
                answer = _SLOW
        if answer is _FAILED or answer is _SLOW:
            self._turn_away(answer)
            return
        if isinstance(answer, Refusal):
            self._refuse(answer)
            return
        accepted: Accepted | None = None
        gone = self.transport.is_closing() or _has_hung_up(self.transport)
        if not gone and not self._gate.draining():
            with Boundary(_log_admission):
                accepted = route.accept(answer, request)
        if accepted is not None:
            self._hand_over(route, accepted, request, key)
            return
        with Boundary(_log_admission):
            route.release(answer)
        self._turn_away(_DRAINING if self._gate.draining() else _FAILED)

    def _hand_over(self, route: MediaRoute[Any], accepted: Accepted, request: UpgradeRequest, key: str) -> None:
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment]  # breaks a reference cycle
        socket = PicowsSocket(accepted.receiver, accepted.on_fault, route.limits, request.peer)
        self._gate.sockets.add(socket)
        chosen = next((name for name in route.subprotocols if name in request.subprotocols), None)
        protocol = adopt(self.transport, socket, route.limits, key, chosen)
        protocol.feed(bytes(self._early))
        if not self.transport.is_closing():
            read_on(self.transport)

    def _turn_away(self, refusal: Refusal) -> None:
        self._gate.on_refused(refusal)
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        if self.transport.is_closing():
            return
        # It was paused for the admission, and TLS must read the peer's close alert.
        self.transport.resume_reading()
        body = refusal.body()
        lines = [STATUS_LINE[refusal.status]]
        extra = [("connection", "close"), ("content-length", str(len(body)))]
        for name, value in [*refusal.headers(), *extra, *_UPGRADE_HEADERS.get(refusal.status, [])]:
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        self._cut()


_UPGRADE_HEADERS = {426: [("upgrade", "websocket"), ("sec-websocket-version", "13")]}


async def _answer_upgrade_required(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that answers plain HTTP requests on a media route."""
    body = _NO_UPGRADE.body()
    headers = [*_NO_UPGRADE.headers(), ("content-length", str(len(body))), *_UPGRADE_HEADERS[426]]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": 426, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _log_admission(fault: BaseException) -> None:
    log.error("an admission failed", exc_info=fault)


def _has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether the client has closed its side; a paused transport does not notice that."""
    if not hasattr(select, "POLLRDHUP"):
        return False
    probe = select.poll()
    probe.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(probe.poll(0))
