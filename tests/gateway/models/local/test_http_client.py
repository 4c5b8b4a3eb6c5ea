"""gateway/models/local/http_client.py: when a proxy is used, and how much of an answer is read"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time
import zlib
from contextlib import nullcontext

import pytest

httpx2 = pytest.importorskip("httpx2", reason="needs openai: pip install 'patchbay[openai]'")

from gateway.models.local.answer_fault import AnswerFault  # noqa: E402
from gateway.models.local.chat import ChatAnswer  # noqa: E402
from gateway.models.local.endpoints import Endpoint, client_of  # noqa: E402
from gateway.models.local.http_client import (  # noqa: E402
    MOST_ANSWER_BYTES,
    MOST_ERROR_BYTES,
    PIECE_BYTES,
    is_loopback,
    limit_body,
    proxy_for,
)
from gateway.models.local.speech.detector import MissingPart  # noqa: E402

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
HERE = [
    "http://127.0.0.1:11434/v1",
    "https://127.8.9.1/v1",
    "http://localhost:8000",
    "http://LOCALHOST./v1",
    "http://tts.localhost:1/v1",
    "http://[::1]:8000/v1",
    "http://[::ffff:127.0.0.1]/v1",
    "http://0.0.0.0:8000/v1",
]
ELSEWHERE = [
    "http://10.0.0.7/v1",
    "https://api.openai.com/v1",
    "http://localhost.example.com/v1",
    "http://[2001:db8::1]/",
]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_addresses_of_this_machine_are_recognised() -> None:
    assert [url for url in HERE if not is_loopback(url)] == []
    assert [url for url in ELSEWHERE if is_loopback(url)] == []


def test_only_endpoints_elsewhere_use_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [proxy_for(url) for url in ELSEWHERE] == [None] * 4
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("ALL_PROXY", "proxy.example:1")
    monkeypatch.setenv("NO_PROXY", "10.0.0.7")
    assert [proxy_for(url) for url in HERE] == [None] * len(HERE)
    assert [proxy_for(url) for url in ELSEWHERE] == [
        None,
        "http://proxy.example:1",
        "http://proxy.example:3128",
        "http://proxy.example:3128",
    ]


@pytest.mark.parametrize("proxy", ["socks5://user:secret@127.0.0.1:1", "foo://user:secret@x"])
def test_an_unusable_proxy_is_an_error_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    for url in HERE:
        client_of(Endpoint(url, "m"))
    with pytest.raises(MissingPart, match=r"10\.0\.0\.7 .*ALL_PROXY(?!.*secret)"):
        client_of(Endpoint("http://10.0.0.7/v1", "m"))


@pytest.mark.parametrize("proxy", ["http://user:secret@[:x", "http://[", "://", "@", " "])
def test_an_invalid_proxy_can_be_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert "secret" not in (proxy_for("http://10.0.0.7/v1") or "")


class Body(httpx2.AsyncByteStream):  # type: ignore[misc,name-defined]
    """An endless body."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.closed = False

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        while True:
            yield self.piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("status", "most_bytes"), [(200, MOST_ANSWER_BYTES), (500, MOST_ERROR_BYTES), (302, MOST_ERROR_BYTES)]
)
def test_an_endless_body_is_cut_at_the_limit(status: int, most_bytes: int) -> None:
    async def main() -> None:
        body = Body(b"x" * 60_000)
        response = httpx2.Response(status, stream=body)
        await limit_body(response)
        read = [0]

        async def read_all() -> None:
            async for piece in response.aiter_bytes():
                read[0] += len(piece)

        with pytest.raises(AnswerFault):
            await read_all()
        assert most_bytes - 60_000 <= read[0] <= most_bytes
        await response.aclose()
        assert body.closed

    asyncio.run(main())


class Once(Body):
    """A body in one piece, or in pieces of one byte."""

    def __init__(self, piece: bytes, *, byte_by_byte: bool) -> None:
        super().__init__(piece)
        self._byte_by_byte = byte_by_byte

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for piece in (
            (self.piece[at : at + 1] for at in range(len(self.piece))) if self._byte_by_byte else (self.piece,)
        ):
            yield piece


CODINGS = {
    "identity": ("identity", b"word " * 80_000, None),
    "gzip": ("gzip", gzip.compress(b"word " * 80_000), None),
    "deflate": ("deflate", zlib.compress(b"word " * 80_000), None),
    "bomb": ("gzip", gzip.compress(bytes(64 << 20)), "longer than the limit"),
    "no gzip": ("gzip", b"words", "cannot be decompressed"),
    "unknown": ("br", b"words", "though that was not asked for"),
    "both": ("gzip, deflate", b"words", "though that was not asked for"),
}


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize("kind", CODINGS)
def test_other_tasks_run_between_the_small_pieces_of_a_body(kind: str, byte_by_byte: bool) -> None:
    coding, sent, fault = CODINGS[kind]

    async def main() -> None:
        response = httpx2.Response(
            200, stream=Once(sent, byte_by_byte=byte_by_byte), headers={"content-encoding": coding}
        )
        await limit_body(response)
        held_s, begun, read = 0.0, time.thread_time(), bytearray()

        async def others() -> None:
            nonlocal held_s, begun
            while True:
                now = time.thread_time()
                held_s, begun = max(held_s, now - begun), now
                await asyncio.sleep(0)

        async def read_all() -> None:
            async for piece in response.aiter_bytes():
                assert len(piece) <= PIECE_BYTES
                read.extend(piece)

        async with asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(others())
            with nullcontext() if fault is None else pytest.raises(AnswerFault, match=fault):
                await read_all()
            beside.cancel()
        assert fault is not None or bytes(read) == b"word " * 80_000
        assert held_s < 0.05

    asyncio.run(main())


def test_a_compressed_error_body_is_limited() -> None:
    async def main() -> None:
        body = Body(gzip.compress(bytes(40_000_000)))
        response = httpx2.Response(500, stream=body, headers={"content-encoding": "gzip"})
        await limit_body(response)
        with pytest.raises(AnswerFault):
            await response.aread()

    asyncio.run(main())


FIRST = """
import asyncio, time, httpx2
from gateway.models.local.endpoints import Endpoint, client_of

async def main():
    refused = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, json={})))
    client = CLIENT.with_options(http_client=refused)
    begun = time.thread_time()
    async with client.chat.completions.with_streaming_response.create(
        model="m", messages=[{"role": "user", "content": "Hello."}], stream=True
    ) as answer:
        await answer.read()
    print(time.thread_time() - begun)

CLIENT = client_of(Endpoint("http://127.0.0.1:9/v1", "m"))
asyncio.run(main())
"""


def test_the_sdk_is_warmed_up_before_its_first_request() -> None:
    def first_s() -> float:
        return float(subprocess.run([sys.executable, "-c", FIRST], capture_output=True, check=True, timeout=60).stdout)

    assert min(first_s() for _ in range(3)) < 0.008  # without the warm-up it takes twice as long


def test_a_long_conversation_holds_the_loop_briefly_and_is_sent_whole() -> None:
    sent: list[dict[str, object]] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:  # type: ignore[name-defined]
        sent.append(json.loads(request.content))
        return httpx2.Response(400, json={})

    async def main() -> float:
        endpoint = Endpoint("http://127.0.0.1:9/v1", "m")
        client = await asyncio.to_thread(client_of, endpoint)
        refused = httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))
        refusing_client = client.with_options(http_client=refused)
        messages: list[dict[str, object]] = [{"role": "user", "content": "Hello there."} for _ in range(400)]
        tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        took = []
        for _ in range(3):
            begun = time.thread_time()
            answer = ChatAnswer(endpoint, refusing_client, asyncio.get_running_loop().create_task, messages, tools, {})
            while not answer.over:
                await asyncio.sleep(0.001)
            took.append(time.thread_time() - begun)
        assert sent[0]["messages"] == messages
        assert (sent[0]["tools"], sent[0]["model"], sent[0]["stream"]) == (tools, "m", True)
        return min(took)

    assert asyncio.run(main()) < 0.02  # as regular arguments of the SDK the messages take 60 ms
