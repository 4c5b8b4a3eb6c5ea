"""The HTTP client through which the SDK sends its requests to one MCP server.

The SDK reads answers without a bound and on the event loop, interprets the words of an error, and gives up the whole
connection when one request fails. Here every request gets one answer that the SDK can read; where the server gives
none, it is an error made here that says what is known. Only the status and the protocol's fields decide, never the
words.
Source: MCP 2026-07-28 and 2025-11-25, transports (streamable HTTP); RFC 9110, 15; the package `httpx2` 2.16.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import ssl
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2
import orjson

from gateway.config.urls import read_url
from gateway.guard import Boundary, innermost, place_of
from gateway.runtime.fairness import TimeSlice
from gateway.tools.config import HttpServer
from gateway.tools.json_reading import Unreadable
from gateway.tools.lines import Endless, EventSplitter
from gateway.tools.messages import Fate, Message, MessageReader, RequestId, failure, read_aside

log = logging.getLogger(__name__)

MAX_REFUSAL_BYTES = 64 << 10  # of an error response's body
CONNECT_S = 10.0
_SESSION = "mcp-session-id"
_PIECE_BYTES = 64 << 10
_FIELD_BYTES = 1024  # of an event's fields other than its data
# Errors raised before a request has left, among them a proxy's refusal.
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
# Of the 5xx statuses, those of a request that the server has not begun.
_NOT_RUN = frozenset({501, 505, 511})

# Holds the context with the authorities named by the environment, once one was needed.
_SHARED_CONTEXT: list[ssl.SSLContext] = []
_SHARED_LOCK = threading.Lock()


class McpHttp(httpx2.AsyncClient):
    """Sends the SDK's requests. Never uses a proxy for an address on this machine, whatever the environment says."""

    def __init__(self, server: HttpServer, reader: MessageReader, max_bytes: int, tls: ssl.SSLContext) -> None:
        """`tls` is the context that `tls_for` returns for the server's address."""
        self._label = server.label
        self._reader = reader
        self._max_bytes = max_bytes
        self._proxy = proxy_of(server.url)
        # Why the last request got no answer, for operators.
        self.problem: str | None = None
        super().__init__(
            headers={**server.headers, "accept-encoding": "identity"},
            # There is no read timeout: the caller's deadline ends a slow tool, and an event stream may be silent for
            # long.
            timeout=httpx2.Timeout(CONNECT_S, read=None),
            verify=tls,
            # There may be as many connections as there are calls.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            trust_env=not is_loopback(read_url(server.url, ("http", "https")).hostname or ""),
        )

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request. A JSON-RPC request of the SDK always gets an answer, which may be an error made here."""
        if request.method != "POST":
            response = await super().send(request, **options)
            return self._rewritten_stream(response, None) if _is_stream(response) else await _without_body(response)
        self.problem = None
        sent = orjson.loads(request.content)
        request_id = self._reader.note_sent(sent) if isinstance(sent, dict) and "method" in sent else None
        faults: list[BaseException] = []
        with Boundary(faults.append):
            response = await super().send(request, **options)
            return await _without_body(response) if request_id is None else await self._answer(response, request_id)
        words = self._describe(faults[0])
        if request_id is None:  # a notification, which gets no answer
            return httpx2.Response(599, request=request)
        if isinstance(faults[0], _NOT_SENT) and sent["method"] == "server/discover":
            # Not connected at all, so there is no use in trying an older handshake.
            raise httpx2.ConnectError(words, request=request) from faults[0]
        if isinstance(faults[0], _NOT_SENT):
            fate = Fate.NOT_DONE
        else:
            fate = Fate.GONE if isinstance(faults[0], httpx2.TransportError) else Fate.UNKNOWN
        return self._response(request, failure(request_id, fate, words))

    async def _answer(self, response: httpx2.Response, request_id: RequestId) -> httpx2.Response:
        if response.next_request is not None:
            return await _without_body(response)  # the SDK follows a redirect that stays on the same server
        if response.status_code < 400 and _is_stream(response):
            return self._rewritten_stream(response, request_id)
        try:
            if response.status_code >= 400:
                message = await self._refusal(response, request_id)
            else:
                message = await self._result(response, request_id)
        finally:
            await response.aclose()
            self._reader.forget(request_id)
        return self._response(response.request, message, response)

    async def _result(self, response: httpx2.Response, request_id: RequestId) -> Message:
        try:
            body = await _body(response, self._max_bytes)
            if not body.strip():
                raise Unreadable("it is empty")
            for message in await read_aside(self._reader, body, request_id):
                if message.answers == request_id:
                    return message
            what = "the answer holds no result"
        except _TooMuch:
            what = f"the answer has more than {self._max_bytes} bytes"
        except Unreadable as error:
            what = f"the answer cannot be read: {error}"
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            what += f" (content type {kind[:60] or 'missing'})"
        self._reader.log_fault("http", f"HTTP {response.status_code}: {what}")
        words = self.problem = f"HTTP {response.status_code}: {what}"
        return failure(request_id, Fate.UNKNOWN, words)

    async def _refusal(self, response: httpx2.Response, request_id: RequestId) -> Message:
        """The answer for an error status, from the protocol's fields in the body and from the meaning of the status."""
        status = response.status_code
        words = self.problem = f"the server answered HTTP {status}{self._proxy_note()}"
        error, own = await self._error_of(response, request_id)
        ran = status == 408 or (status >= 500 and status not in _NOT_RUN)
        in_session = _SESSION in response.request.headers
        # An unknown session is answered with 404. Some servers answer 400, before they have read which request it was.
        if in_session and (status == 404 or (status == 400 and not own)):
            return failure(request_id, Fate.SESSION_LOST, words, status=status)
        if error is not None and not ran and (own or not in_session):
            return error
        return failure(request_id, Fate.UNKNOWN if ran else Fate.NOT_DONE, words, status=status)

    async def _error_of(self, response: httpx2.Response, request_id: RequestId) -> tuple[Message | None, bool]:
        """The error in the body, if there is one, and whether the body names the request that it refuses."""
        try:
            body = await _body(response, min(MAX_REFUSAL_BYTES, self._max_bytes))
            messages = await read_aside(self._reader, body, request_id)
        except (Unreadable, _TooMuch, httpx2.TransportError):
            return None, False
        found = next((message for message in messages if message.answers == request_id), None)
        return found, found is not None and self._reader.request_of(body) == request_id

    def _rewritten_stream(self, response: httpx2.Response, request_id: RequestId | None) -> httpx2.Response:
        """An event stream whose events are read and written again."""
        events = _Events(response, self._reader, request_id, self._max_bytes)
        headers = {"content-type": "text/event-stream", **_session_of(response)}
        return httpx2.Response(response.status_code, headers=headers, stream=events, request=response.request)

    def _response(
        self, request: httpx2.Request, message: Message, answer: httpx2.Response | None = None
    ) -> httpx2.Response:
        headers = {"content-type": "application/json", **(_session_of(answer) if answer is not None else {})}
        return httpx2.Response(200, headers=headers, content=message.payload, request=request)

    def _describe(self, fault: BaseException) -> str:
        """A description of what broke a request, for operators."""
        fault = innermost(fault)
        kind = type(fault).__name__
        if isinstance(fault, httpx2.TransportError):
            self.problem = f"{kind}: {str(fault)[:200]}{self._proxy_note()}"
            return f"{str(fault)[:200]}{self._proxy_note()}"
        log.error("an mcp request broke", extra={"server": self._label, "kind": kind, "place": place_of(fault)})
        self.problem = kind
        return kind

    def _proxy_note(self) -> str:
        return f", through the proxy of {self._proxy}" if self._proxy is not None else ""


class _TooMuch(Exception):
    """A body is longer than its bound."""


class _Events(httpx2.AsyncByteStream):
    """A server's event stream: each event is within the bound and holds only messages that the SDK can read."""

    def __init__(
        self, response: httpx2.Response, reader: MessageReader, request_id: RequestId | None, max_bytes: int
    ) -> None:
        self._response = response
        self._reader = reader
        self._request_id = request_id
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        splitter, time_slice = EventSplitter(self._max_bytes + _FIELD_BYTES), TimeSlice()
        try:
            async for piece in _decoded(self._response):
                for event in splitter.feed(piece):
                    async for written in self._written(event):
                        yield written
                    await time_slice.yield_if_used()
        except Endless:
            for written in self._unreadable(f"an event has more than {self._max_bytes} bytes"):
                yield written
        except Unreadable as error:
            for written in self._unreadable(str(error)):
                yield written

    async def aclose(self) -> None:
        """Close the server's response."""
        await self._response.aclose()

    async def _written(self, event: bytes) -> AsyncIterator[bytes]:
        fields: dict[bytes, list[bytes]] = {}
        for line in event.splitlines():
            name, _, value = line.partition(b":")
            fields.setdefault(name, []).append(value.removeprefix(b" "))
        kept = b"".join(
            b"%b: %b\n" % (name, fields[name][-1]) for name in (b"id", b"retry") if name in fields and fields[name][-1]
        )
        data = b"\n".join(fields.get(b"data", []))
        if fields.get(b"event", [b"message"])[-1] not in (b"", b"message") or not data:
            if kept:
                # An event without a message tells where to resume if the stream breaks.
                yield kept + b"data:\n\n"
            return
        try:
            messages = await read_aside(self._reader, data, self._request_id)
        except Unreadable as error:
            for written in self._unreadable(f"an event cannot be read: {error}"):
                yield written
            return
        for message in messages:
            if self._request_id is not None and message.answers not in (None, self._request_id):
                self._reader.log_fault("http", "the answer to a request came in the stream of another")
                continue
            yield kept + b"data: " + message.payload + b"\n\n"
            if message.answers is not None:
                self._reader.forget(message.answers)

    def _unreadable(self, what: str) -> list[bytes]:
        self._reader.log_fault("http", what)
        if self._request_id is None:
            return []
        self._reader.forget(self._request_id)
        return [b"data: " + failure(self._request_id, Fate.UNKNOWN, what).payload + b"\n\n"]


async def tls_for(url: str) -> ssl.SSLContext:
    """The TLS context that checks the certificates of the server and of an `https://` proxy. Shared, and made in a
    thread.

    Reading the authorities' certificates takes 20 ms and more. Where TLS is never used, the context has none.
    """
    parts = read_url(url, ("http", "https"))
    proxies = [] if proxy_of(url) is None else [getproxies().get(scheme, "") for scheme in ("http", "https", "all")]
    # A server at the default port of http may redirect its clients to https.
    if parts.scheme == "http" and parts.port not in (None, 80) and not any(one.startswith("https:") for one in proxies):
        return _without_authorities()
    return _SHARED_CONTEXT[0] if _SHARED_CONTEXT else await asyncio.to_thread(_with_authorities)


def _with_authorities() -> ssl.SSLContext:
    with _SHARED_LOCK:
        if not _SHARED_CONTEXT:
            _SHARED_CONTEXT.append(httpx2.create_ssl_context())
    return _SHARED_CONTEXT[0]


@functools.cache
def _without_authorities() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback or (mapped or address).is_unspecified)


def proxy_of(url: str) -> str | None:
    """The variable that sends requests for this address to a proxy, and that proxy without its password."""
    parts = read_url(url, ("http", "https"))
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    for scheme in (parts.scheme, "all"):
        if proxy := proxies.get(scheme):
            return f"{scheme.upper()}_PROXY ({proxy.rpartition('@')[2].rpartition('//')[2].strip('/')[:80]})"
    return None


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"


async def _without_body(response: httpx2.Response) -> httpx2.Response:
    """The response without its body, which is not needed and may be long."""
    await response.aclose()
    kept = {name: response.headers[name] for name in ("content-type", "location") if name in response.headers}
    emptied = httpx2.Response(response.status_code, headers=kept, request=response.request)
    emptied.next_request = response.next_request
    return emptied


def _session_of(response: httpx2.Response) -> dict[str, str]:
    return {_SESSION: response.headers[_SESSION]} if _SESSION in response.headers else {}


async def _body(response: httpx2.Response, max_bytes: int) -> bytes:
    """The body, decompressed. Raises _TooMuch, and Unreadable for a compression that was not requested."""
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _TooMuch
    body = bytearray()
    async for piece in _decoded(response):
        body += piece
        if len(body) > max_bytes:
            raise _TooMuch
    return bytes(body)


async def _decoded(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body in pieces of bounded size, decompressed where the server compresses although it was asked not to."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for raw in response.aiter_raw():
            yield raw
            await asyncio.sleep(0)
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable("it is compressed, although that was not requested")
    inflate, time_slice = zlib.decompressobj(zlib.MAX_WBITS | 32), TimeSlice()
    async for raw in response.aiter_raw():
        while raw:
            try:
                yield inflate.decompress(raw, _PIECE_BYTES)
            except zlib.error:
                raise Unreadable("it cannot be decompressed") from None
            raw = inflate.unconsumed_tail
            await time_slice.yield_if_used()
