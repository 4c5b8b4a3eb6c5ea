"""The container's health check, run against real servers with TLS and without."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from peers.client_gateway import ROOT, ClientGateway

pytestmark = pytest.mark.sockets


def ask(gateway: ClientGateway, **environ: str) -> tuple[int, str]:
    """Exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.http.health"],
        cwd=ROOT,
        env={"PATCHBAY_PORT": str(urlsplit(gateway.url).port), "http_proxy": "http://127.0.0.1:9", **environ},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_plain_server_is_healthy(gateway: ClientGateway) -> None:
    assert ask(gateway) == (0, "")


def test_a_server_with_a_self_signed_certificate_is_healthy(tls_gateway: ClientGateway) -> None:
    assert ask(tls_gateway, PATCHBAY_TLS_CERT="anything.pem") == (0, "")
    assert ask(tls_gateway) == (0, "")


def test_a_peer_that_aborts_its_handshake_is_not_logged_as_an_error(tls_gateway: ClientGateway) -> None:
    place = urlsplit(tls_gateway.url)
    assert place.hostname is not None
    assert place.port is not None
    # A reset, as scanners send, and an orderly end.
    for end in (struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)):
        with socket.create_connection((place.hostname, place.port)) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, end)
    # The check's own request comes after them in the log.
    assert ask(tls_gateway, PATCHBAY_TLS_CERT="anything.pem") == (0, "")
    lines = [json.loads(line) for line in tls_gateway.log().splitlines() if '"asyncio"' in line]
    assert lines
    assert {(line["level"], line["message"]) for line in lines} == {("info", "a TLS handshake failed")}


def test_a_port_without_a_server_is_not_healthy(gateway: ClientGateway) -> None:
    code, printed = ask(gateway, PATCHBAY_PORT="1")
    assert code == 1
    assert printed.startswith("http://127.0.0.1:1/healthz: ")
