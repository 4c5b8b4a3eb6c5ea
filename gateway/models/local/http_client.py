"""The HTTP client for one endpoint of the local model: what may be read of an answer, and where a proxy has no place.

An endpoint on this machine (Ollama, llama.cpp) is never asked through a proxy, whatever `HTTP_PROXY`, `HTTPS_PROXY` and
`ALL_PROXY` say: the proxy would look for it on its own machine. Source: the `openai` package; `httpx2`, "Proxies".
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

from gateway.breath import Breath
from gateway.guard import Boundary
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.detector import MissingPart

MOST_ANSWER_BYTES = 16 * 1024 * 1024  # of anything, on the wire
PIECE_BYTES = 4 * 1024  # of an answer, so many at once
MOST_ERROR_BYTES = 64 * 1024  # of an answer that the SDK reads whole by itself
_REHEARSED: list[bool] = []


def is_loopback(base_url: str) -> bool:
    """Whether this is an address of this machine."""
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
    """The proxy that stands in the way, without its password; None: there is none."""
    if is_loopback(base_url):
        return None
    split, proxies = urlsplit(base_url), getproxies()
    found = proxies.get(split.scheme) or proxies.get("all")
    if not found or proxy_bypass(split.netloc.rpartition("@")[2]):
        return None
    scheme, _, place = found.rpartition("://")
    return f"{scheme or 'http'}://{place.rpartition('@')[2]}"


def open_client(base_url: str, api_key: str, timeout_s: float) -> Any:
    """An `openai.AsyncOpenAI` for an endpoint. Raises MissingPart where a proxy is named that cannot be used."""
    own = is_loopback(base_url)
    try:
        http_client = DefaultAsyncHttpxClient(
            base_url=base_url,
            timeout=timeout_s,
            trust_env=not own,
            verify=httpx2.create_ssl_context(),  # with the authorities that the environment names, also without proxies
            event_hooks={"response": [bounded]},
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise MissingPart(
            f"the endpoint {urlsplit(base_url).hostname} cannot be asked through the proxy that HTTP_PROXY, "
            "HTTPS_PROXY or ALL_PROXY names: give a proxy with an http:// or https:// address, or unset the variable"
        ) from error
    return AsyncOpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,
        timeout=timeout_s,
        http_client=http_client,
        default_headers={"Accept-Encoding": "identity"},  # compressed, a small answer may be an endless one
    )


def rehearse() -> None:
    """Make requests of each kind that go nowhere: the SDK's first ones take some 30 ms. Does nothing on a loop."""
    if not _REHEARSED and asyncio._get_running_loop() is None:
        _REHEARSED.append(True)
        with Boundary(lambda fault: None):
            asyncio.run(_rehearsal())


async def _rehearsal() -> None:
    await anyio.lowlevel.checkpoint()  # loads its parts for asyncio
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


async def bounded(response: httpx2.Response) -> None:
    """Put a bound on what is read of an answer, whoever reads it: the SDK reads errors and redirections whole.

    What is compressed, although that was not asked for, is decompressed here, piece by piece.
    """
    most_bytes = MOST_ANSWER_BYTES if response.is_success else MOST_ERROR_BYTES
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    coding = response.headers.pop("content-encoding", "identity").strip().lower()
    response.stream = _Bounded(response.stream, most_bytes, coding)


class _Bounded(httpx2.AsyncByteStream):
    """A body in small pieces that ends in a fault where it is longer than anybody reads.

    Between pieces others have their turn: thousands of them may have arrived at once.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int, coding: str) -> None:
        self._stream = stream
        self._left = most_bytes
        self._coding = coding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        breath = Breath()
        async for piece in self._decoded():
            self._left -= len(piece)
            if self._left < 0:
                raise AnswerFault("the answer has more bytes than are read")
            yield piece
            await breath.taken()

    async def _decoded(self) -> AsyncIterator[bytes]:
        if self._coding in ("", "identity"):
            async for piece in self._stream:
                for at in range(0, len(piece), PIECE_BYTES):
                    yield piece[at : at + PIECE_BYTES]
            return
        if self._coding not in ("gzip", "x-gzip", "deflate"):
            raise AnswerFault("it is compressed, though that was not asked for")
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        async for piece in self._stream:
            while piece:
                try:
                    yield inflate.decompress(piece, PIECE_BYTES)
                except zlib.error:
                    raise AnswerFault("it cannot be decompressed") from None
                piece = inflate.unconsumed_tail

    async def aclose(self) -> None:
        await self._stream.aclose()
