"""The container's health check, asked of real servers with TLS and without."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from peers.client_house import ROOT, House

pytestmark = pytest.mark.sockets


def ask(house: House, **environ: str) -> tuple[int, str]:
    """Exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.health"],
        cwd=ROOT,
        env={"PATCHBAY_PORT": str(urlsplit(house.url).port), "http_proxy": "http://127.0.0.1:9", **environ},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_plain_server_is_healthy(gateway: House) -> None:
    assert ask(gateway) == (0, "")


def test_a_server_with_a_certificate_of_its_own_is_healthy(tls_gateway: House) -> None:
    assert ask(tls_gateway, PATCHBAY_TLS_CERT="anything.pem") == (0, "")
    assert ask(tls_gateway) == (0, "")


def test_a_peer_that_breaks_off_its_handshake_is_no_error(tls_gateway: House) -> None:
    place = urlsplit(tls_gateway.url)
    assert place.hostname is not None
    assert place.port is not None
    for end in (struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)):  # a reset, as scanners do, and a plain end
        with socket.create_connection((place.hostname, place.port)) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, end)
    assert ask(tls_gateway, PATCHBAY_TLS_CERT="anything.pem") == (0, "")  # which comes after it in the log
    lines = [json.loads(line) for line in tls_gateway.log().splitlines() if '"asyncio"' in line]
    assert lines
    assert {(line["level"], line["message"]) for line in lines} == {("info", "a TLS handshake failed")}


def test_a_port_where_nobody_answers_is_not(gateway: House) -> None:
    code, told = ask(gateway, PATCHBAY_PORT="1")
    assert code == 1
    assert told.startswith("http://127.0.0.1:1/healthz: ")
