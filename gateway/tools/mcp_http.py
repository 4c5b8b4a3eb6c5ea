"""The HTTP of one MCP server: the client that the SDK sends its requests with.

The SDK reads answers without a bound and on the loop, guesses from the words of an error, and gives up the whole
connection for one request that fails. Here every request gets one answer that the SDK can read, and where there is none
from the server, one of ours that says what is known. The status and the fields of the protocol decide, never words.
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

from gateway.breath import Breath
from gateway.guard import Boundary, innermost, place_of
from gateway.tools.config import HttpServer
from gateway.tools.json_reading import Unreadable
from gateway.tools.lines import Endless, EventSplitter
from gateway.tools.messages import Fate, Mailbox, Message, RequestId, failure, read_aside
from gateway.urls import read_url

log = logging.getLogger(__name__)

MAX_REFUSAL_BYTES = 64 << 10  # of the body of an error
CONNECT_S = 10.0
_SESSION = "mcp-session-id"
_PIECE_BYTES = 64 << 10
_FIELD_BYTES = 1024  # of an event, beside its data
# What fails before a request has left. A proxy that refuses is such a thing, too.
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
_NOT_RUN = frozenset({501, 505, 511})  # of the server's own failures, those of a request that was not begun

_MADE: list[ssl.SSLContext] = []  # the one with the authorities that the environment names, once it was needed
_MAKING = threading.Lock()


class McpHttp(httpx2.AsyncClient):
    """Sends the SDK's requests. An address on this machine is never sent to a proxy, whatever the environment says."""

    def __init__(self, server: HttpServer, mailbox: Mailbox, max_bytes: int, tls: ssl.SSLContext) -> None:
        """`tls`: what `tls_for` gives for the server's address."""
        self._label = server.label
        self._mailbox = mailbox
        self._max_bytes = max_bytes
        self._proxy = proxy_of(server.url)
        self.trouble: str | None = None  # what kept the last request from an answer, for operators
        super().__init__(
            headers={**server.headers, "accept-encoding": "identity"},
            # No read limit: a slow tool is cut off by its caller's deadline, an event stream is silent for long.
            timeout=httpx2.Timeout(CONNECT_S, read=None),
            verify=tls,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),  # as many as there are calls
            trust_env=not is_loopback(read_url(server.url, ("http", "https")).hostname or ""),
        )

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; one of the SDK's questions always gets an answer, which may be one of ours."""
        if request.method != "POST":
            response = await super().send(request, **options)
            return self._followed(response, None) if _is_stream(response) else await _emptied(response)
        self.trouble = None
        sent = orjson.loads(request.content)
        request_id = self._mailbox.ask(sent) if isinstance(sent, dict) and "method" in sent else None
        faults: list[BaseException] = []
        with Boundary(faults.append):
            response = await super().send(request, **options)
            return await _emptied(response) if request_id is None else await self._answer(response, request_id)
        words = self._say(faults[0])
        if request_id is None:  # a notification; nobody waits for it
            return httpx2.Response(599, request=request)
        if isinstance(faults[0], _NOT_SENT) and sent["method"] == "server/discover":
            raise httpx2.ConnectError(words, request=request) from faults[0]  # no use in trying an older greeting
        if isinstance(faults[0], _NOT_SENT):
            fate = Fate.NOT_DONE
        else:
            fate = Fate.GONE if isinstance(faults[0], httpx2.TransportError) else Fate.UNKNOWN
        return self._made(request, failure(request_id, fate, words))

    async def _answer(self, response: httpx2.Response, request_id: RequestId) -> httpx2.Response:
        if response.next_request is not None:
            return await _emptied(response)  # a redirect; the SDK follows those that stay on the server
        if response.status_code < 400 and _is_stream(response):
            return self._followed(response, request_id)
        try:
            if response.status_code >= 400:
                message = await self._refusal(response, request_id)
            else:
                message = await self._result(response, request_id)
        finally:
            await response.aclose()
            self._mailbox.done(request_id)
        return self._made(response.request, message, response)

    async def _result(self, response: httpx2.Response, request_id: RequestId) -> Message:
        try:
            body = await _whole(response, self._max_bytes)
            if not body.strip():
                raise Unreadable("it is empty")
            for message in await read_aside(self._mailbox, body, request_id):
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
        self._mailbox.note("http", f"HTTP {response.status_code}: {what}")
        words = self.trouble = f"HTTP {response.status_code}: {what}"
        return failure(request_id, Fate.UNKNOWN, words)

    async def _refusal(self, response: httpx2.Response, request_id: RequestId) -> Message:
        """An error status: what the server says in the protocol's fields, and what the status says of the request."""
        status = response.status_code
        words = self.trouble = f"the server answered HTTP {status}{self._through()}"
        error, own = await self._error_of(response, request_id)
        ran = status == 408 or (status >= 500 and status not in _NOT_RUN)
        in_session = _SESSION in response.request.headers
        # A session that the server has forgotten is 404. Some say 400 to it, before they read whose request it was.
        if in_session and (status == 404 or (status == 400 and not own)):
            return failure(request_id, Fate.SESSION_LOST, words, status=status)
        if error is not None and not ran and (own or not in_session):
            return error
        return failure(request_id, Fate.UNKNOWN if ran else Fate.NOT_DONE, words, status=status)

    async def _error_of(self, response: httpx2.Response, request_id: RequestId) -> tuple[Message | None, bool]:
        """The error in the body, if there is one, and whether the server knew which request it refuses."""
        try:
            body = await _whole(response, min(MAX_REFUSAL_BYTES, self._max_bytes))
            messages = await read_aside(self._mailbox, body, request_id)
        except (Unreadable, _TooMuch, httpx2.TransportError):
            return None, False
        found = next((message for message in messages if message.answers == request_id), None)
        return found, found is not None and self._mailbox.meant(body) == request_id

    def _followed(self, response: httpx2.Response, request_id: RequestId | None) -> httpx2.Response:
        """An event stream whose events have been read, and written anew."""
        events = _Events(response, self._mailbox, request_id, self._max_bytes)
        headers = {"content-type": "text/event-stream", **_session_of(response)}
        return httpx2.Response(response.status_code, headers=headers, stream=events, request=response.request)

    def _made(
        self, request: httpx2.Request, message: Message, answer: httpx2.Response | None = None
    ) -> httpx2.Response:
        headers = {"content-type": "application/json", **(_session_of(answer) if answer is not None else {})}
        return httpx2.Response(200, headers=headers, content=message.payload, request=request)

    def _say(self, fault: BaseException) -> str:
        """What broke a request, for operators."""
        fault = innermost(fault)
        kind = type(fault).__name__
        if isinstance(fault, httpx2.TransportError):
            self.trouble = f"{kind}: {str(fault)[:200]}{self._through()}"
            return f"{str(fault)[:200]}{self._through()}"
        log.error("an mcp request broke", extra={"server": self._label, "kind": kind, "place": place_of(fault)})
        self.trouble = kind
        return kind

    def _through(self) -> str:
        return f", through the proxy of {self._proxy}" if self._proxy is not None else ""


class _TooMuch(Exception):
    """A body is longer than its bound."""


class _Events(httpx2.AsyncByteStream):
    """A server's event stream, event by event: each within the bound, and each with messages that the SDK can read."""

    def __init__(
        self, response: httpx2.Response, mailbox: Mailbox, request_id: RequestId | None, max_bytes: int
    ) -> None:
        self._response = response
        self._mailbox = mailbox
        self._request_id = request_id
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        splitter, breath = EventSplitter(self._max_bytes + _FIELD_BYTES), Breath()
        try:
            async for piece in _decoded(self._response):
                for event in splitter.feed(piece):
                    async for written in self._written(event):
                        yield written
                    await breath.taken()
        except Endless:
            for written in self._unreadable(f"an event has more than {self._max_bytes} bytes"):
                yield written
        except Unreadable as error:
            for written in self._unreadable(str(error)):
                yield written

    async def aclose(self) -> None:
        """Let go of the server's answer."""
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
                yield kept + b"data:\n\n"  # an event without a message: where to go on, should the stream break
            return
        try:
            messages = await read_aside(self._mailbox, data, self._request_id)
        except Unreadable as error:
            for written in self._unreadable(f"an event cannot be read: {error}"):
                yield written
            return
        for message in messages:
            if self._request_id is not None and message.answers not in (None, self._request_id):
                self._mailbox.note("http", "the answer to a request came in the stream of another")
                continue
            yield kept + b"data: " + message.payload + b"\n\n"
            if message.answers is not None:
                self._mailbox.done(message.answers)

    def _unreadable(self, what: str) -> list[bytes]:
        self._mailbox.note("http", what)
        if self._request_id is None:
            return []
        self._mailbox.done(self._request_id)
        return [b"data: " + failure(self._request_id, Fate.UNKNOWN, what).payload + b"\n\n"]


async def tls_for(url: str) -> ssl.SSLContext:
    """What checks the server's certificate, and an `https://` proxy's: shared by all, and made in a thread.

    Reading the authorities' certificates takes 20 ms and more. Where TLS is never spoken, there are none of them.
    """
    parts = read_url(url, ("http", "https"))
    proxies = [] if proxy_of(url) is None else [getproxies().get(scheme, "") for scheme in ("http", "https", "all")]
    # A server at the default port of http may send its clients on to its https.
    if parts.scheme == "http" and parts.port not in (None, 80) and not any(one.startswith("https:") for one in proxies):
        return _without_authorities()
    return _MADE[0] if _MADE else await asyncio.to_thread(_with_authorities)


def _with_authorities() -> ssl.SSLContext:
    with _MAKING:
        if not _MADE:
            _MADE.append(httpx2.create_ssl_context())
    return _MADE[0]


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
    """The variable that sends requests for this address to a proxy, and which one, without its password."""
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


async def _emptied(response: httpx2.Response) -> httpx2.Response:
    """The answer without its body, which nobody needs, however long it is."""
    await response.aclose()
    kept = {name: response.headers[name] for name in ("content-type", "location") if name in response.headers}
    emptied = httpx2.Response(response.status_code, headers=kept, request=response.request)
    emptied.next_request = response.next_request
    return emptied


def _session_of(response: httpx2.Response) -> dict[str, str]:
    return {_SESSION: response.headers[_SESSION]} if _SESSION in response.headers else {}


async def _whole(response: httpx2.Response, max_bytes: int) -> bytes:
    """The body, decompressed. Raises _TooMuch, and Unreadable for a compression that nobody asked for."""
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
    """The body in pieces, each of a bounded size, also where a server compresses although it was asked not to."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for raw in response.aiter_raw():
            yield raw
            await asyncio.sleep(0)
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable("it is compressed, though that was not asked for")
    inflate, breath = zlib.decompressobj(zlib.MAX_WBITS | 32), Breath()
    async for raw in response.aiter_raw():
        while raw:
            try:
                yield inflate.decompress(raw, _PIECE_BYTES)
            except zlib.error:
                raise Unreadable("it cannot be decompressed") from None
            raw = inflate.unconsumed_tail
            await breath.taken()
