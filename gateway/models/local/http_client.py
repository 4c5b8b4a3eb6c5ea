"""The HTTP client for one endpoint of the local model, with bounds on an answer's length and rules about proxies.

Requests to an endpoint on this machine (Ollama, llama.cpp) never go through a proxy, whatever `HTTP_PROXY`,
`HTTPS_PROXY` and `ALL_PROXY` say: the proxy would look for the endpoint on the proxy's machine.
Source: the `openai` package; `httpx2`, "Proxies".
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio.lowlevel
import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from gateway.guard import Boundary
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.speech.detector import MissingPart
from gateway.runtime.fairness import TimeSlice

MOST_ANSWER_BYTES = 16 * 1024 * 1024  # of any body, decompressed
PIECE_BYTES = 4 * 1024  # the largest piece of a body that is handed on at once
MOST_ERROR_BYTES = 64 * 1024  # of the body of an error or redirection, which the SDK reads whole
_WARMED_UP: list[bool] = []


def is_loopback(base_url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or (mapped is not None and mapped.is_loopback)


def proxy_for(base_url: str) -> str | None:
    """The proxy that requests to this URL go through, without its credentials; None: they go directly."""
    if is_loopback(base_url):
        return None
    split, proxies = urlsplit(base_url), getproxies()
    found = proxies.get(split.scheme) or proxies.get("all")
    if not found or proxy_bypass(split.netloc.rpartition("@")[2]):
        return None
    scheme, _, place = found.rpartition("://")
    return f"{scheme or 'http'}://{place.rpartition('@')[2]}"


def open_client(base_url: str, api_key: str, timeout_s: float) -> Any:
    """Make an `openai.AsyncOpenAI` for an endpoint. Raises MissingPart for a configured proxy that cannot be used."""
    is_local = is_loopback(base_url)
    try:
        http_client = DefaultAsyncHttpxClient(
            base_url=base_url,
            timeout=timeout_s,
            trust_env=not is_local,
            verify=httpx2.create_ssl_context(),  # uses the environment's certificate authorities even without trust_env
            event_hooks={"response": [limit_body]},
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise MissingPart(
            f"the endpoint {urlsplit(base_url).hostname} cannot be reached through the proxy that HTTP_PROXY, "
            "HTTPS_PROXY or ALL_PROXY names: use a proxy with an http:// or https:// address, or unset the variable"
        ) from error
    return AsyncOpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,
        timeout=timeout_s,
        http_client=http_client,
        default_headers={"Accept-Encoding": "identity"},  # a small compressed body may decompress without end
    )


def warm_up() -> None:
    """Make one request of each kind to a mock transport, because the SDK's first requests take about 30 ms.

    Does nothing while an event loop runs in this thread.
    """
    if not _WARMED_UP and asyncio._get_running_loop() is None:
        _WARMED_UP.append(True)
        with Boundary(lambda fault: None):
            asyncio.run(_warm_up_requests())


async def _warm_up_requests() -> None:
    await anyio.lowlevel.checkpoint()  # makes anyio load its asyncio backend
    nowhere = httpx2.MockTransport(lambda request: httpx2.Response(200, json={}))
    client = AsyncOpenAI(
        base_url="http://localhost/v1", api_key="none", http_client=httpx2.AsyncClient(transport=nowhere)
    )
    chat, audio = client.chat.completions.with_streaming_response, client.audio
    tool: Any = {"type": "function", "function": {"name": "tool", "parameters": {"type": "object"}}}
    for request in (
        chat.create(model="m", messages=[{"role": "user", "content": "Hello."}], stream=True, tools=[tool]),
        audio.speech.with_streaming_response.create(model="m", voice="v", input="Hello.", response_format="pcm"),
        audio.transcriptions.with_streaming_response.create(
            model="m", file=("speech.wav", b"", "audio/wav"), response_format="json"
        ),
    ):
        async with request as answer:
            async for _ in answer.iter_bytes():
                pass


async def limit_body(response: httpx2.Response) -> None:
    """Limit how much of a response's body can be read, also by the SDK, which reads errors and redirections whole.

    A body that is compressed against the request is decompressed here, piece by piece.
    """
    most_bytes = MOST_ANSWER_BYTES if response.is_success else MOST_ERROR_BYTES
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    coding = response.headers.pop("content-encoding", "identity").strip().lower()
    response.stream = _LimitedBody(response.stream, most_bytes, coding)


class _LimitedBody(httpx2.AsyncByteStream):
    """A body in small pieces. Raises AnswerFault past `most_bytes`.

    Other tasks run between pieces, because thousands of them may have arrived at once.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int, coding: str) -> None:
        self._stream = stream
        self._left = most_bytes
        self._coding = coding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        time_slice = TimeSlice()
        async for piece in self._decoded():
            self._left -= len(piece)
            if self._left < 0:
                raise AnswerFault("the answer is longer than the limit")
            yield piece
            await time_slice.yield_if_used()

    async def _decoded(self) -> AsyncIterator[bytes]:
        if self._coding in ("", "identity"):
            async for piece in self._stream:
                for at in range(0, len(piece), PIECE_BYTES):
                    yield piece[at : at + PIECE_BYTES]
            return
        if self._coding not in ("gzip", "x-gzip", "deflate"):
            raise AnswerFault("the answer is compressed, though that was not asked for")
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        async for piece in self._stream:
            while piece:
                try:
                    yield inflate.decompress(piece, PIECE_BYTES)
                except zlib.error:
                    raise AnswerFault("the answer cannot be decompressed") from None
                piece = inflate.unconsumed_tail

    async def aclose(self) -> None:
        await self._stream.aclose()
