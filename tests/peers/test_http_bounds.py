"""HTTP bodies on a real socket: none is read without a key or without a bound, and each client is told why."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from peers.server_files import KEY
from peers.server_process import Server, serving

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

PATH = "/v1/realtime/client_secrets"
PIECE = b"1," * 32_768  # 64 KiB
MANY = 900  # 64-KiB pieces, about 60 MB
WAIT_S = 20.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that requires a key."""
    settings = {"PATCHBAY_API_KEYS": KEY, "PATCHBAY_ALLOWED_ORIGINS": "https://shop.example"}
    with serving(tmp_path_factory.mktemp("bounds"), **settings) as server:
        yield server


def head(*lines: str) -> bytes:
    """A request's head."""
    fixed = (f"POST {PATH} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def exchange(server: Server, first: bytes, piece: bytes = b"", pieces: int = 0) -> tuple[int, dict[str, str], Any]:
    """Send as long as the server accepts it, then read until the server closes. Returns status, headers and error."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as line:
        line.sendall(first)
        try:
            for _ in range(pieces):
                line.sendall(piece)
        except ConnectionError:
            pass  # The server closed while the client was sending; an earlier answer may still be read.
        while received := line.recv(65536):
            answer += received
    top, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, json.loads(body)["error"]


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


LENGTH = f"Content-Length: {MANY * len(PIECE)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)


@pytest.mark.parametrize(
    ("lines", "piece", "expected"),
    [
        ((LENGTH,), PIECE, (401, "missing_api_key")),
        ((CHUNKED,), CHUNK, (401, "missing_api_key")),
        ((LENGTH, bearer("sk-narwhal-0001")), PIECE, (401, "invalid_api_key")),
        ((LENGTH, bearer(KEY)), PIECE, (413, "body_too_large")),
        ((CHUNKED, bearer(KEY)), CHUNK, (413, "body_too_large")),
        ((LENGTH, bearer(KEY), "Origin: https://evil.example"), PIECE, (403, "origin_not_allowed")),
    ],
)
def test_a_flood_takes_neither_memory_nor_time(
    keyed: Server, lines: tuple[str, ...], piece: bytes, expected: tuple[int, str]
) -> None:
    before_bytes, started_s = keyed.rss_bytes(), time.monotonic()
    status, headers, error = exchange(keyed, head(*lines), piece, MANY)
    assert (status, error["code"]) == expected
    assert headers["connection"] == "close"
    assert time.monotonic() - started_s < WAIT_S
    assert keyed.rss_bytes() - before_bytes < 16 * MIB
    assert keyed.ask("/healthz")[0] == 200


def test_a_client_that_expects_100_continue_does_not_get_it(keyed: Server) -> None:
    status, _, error = exchange(keyed, head(LENGTH, "Expect: 100-continue"))
    assert (status, error["code"]) == (401, "missing_api_key")
    status, _, error = exchange(keyed, head(LENGTH, "Expect: 100-continue", bearer(KEY)))
    assert (status, error["code"]) == (413, "body_too_large")


def test_a_body_that_is_not_json_is_not_read_without_a_key(keyed: Server) -> None:
    assert exchange(keyed, head("Content-Length: 4"), b"{bad", 1)[0] == 401
    bad = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    status, answer = keyed.ask(PATH, method="POST", body="no object", headers=bad)
    assert (status, answer["error"]["code"]) == (400, "invalid_event")


def test_a_body_that_never_arrives_is_given_up(keyed: Server) -> None:
    status, headers, error = exchange(keyed, head("Content-Length: 10", bearer(KEY)))
    assert (status, headers["connection"], error["code"]) == (408, "close", "body_timeout")


def test_a_body_that_trickles_in_is_given_up_as_soon_as_one_that_never_arrives(keyed: Server) -> None:
    started_s = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", keyed.port), timeout=0.2) as line:
        line.sendall(head("Content-Length: 1000", bearer(KEY)) + b"{")
        while not answer and time.monotonic() - started_s < WAIT_S:
            line.sendall(b" ")
            with suppress(TimeoutError):
                answer = line.recv(65536)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert 4.0 < time.monotonic() - started_s < 7.0


def test_requests_on_one_kept_connection_do_not_wait_for_acknowledgements(keyed: Server) -> None:
    took_s = []
    with socket.create_connection(("127.0.0.1", keyed.port), timeout=WAIT_S) as line:
        for _ in range(40):
            started_s = time.monotonic()
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += line.recv(65536)
            took_s.append(time.monotonic() - started_s)
    assert statistics.median(took_s) < 0.03


def test_an_allowed_page_creates_a_secret_with_fetch(keyed: Server) -> None:
    page = {"Origin": "https://shop.example"}
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    assert keyed.ask(PATH, method="OPTIONS", headers={**page, **wish})[0] == 200
    status, secret = keyed.ask(
        PATH, method="POST", body={"session": {"type": "realtime", "model": "desk"}}, headers=page
    )
    assert (status, secret["value"][:3]) == (200, "ek_")
