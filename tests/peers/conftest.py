"""Running gateways for the tests with real clients."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.client_gateway import ClientGateway, open_gateway
from peers.socket_harness import WIRES, Wire

# A shell starts background jobs with SIGINT ignored, and the programs that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each kind of transport for a test's sockets."""
    return WIRES[request.param]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientGateway]:
    """A gateway over plain HTTP."""
    yield from _running(tmp_path_factory.mktemp("house"), tls=False)


@pytest.fixture(scope="session")
def tls_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientGateway]:
    """A gateway over TLS, with a certificate that only its own file verifies."""
    yield from _running(tmp_path_factory.mktemp("tls-house"), tls=True)


def _running(folder: Path, *, tls: bool) -> Iterator[ClientGateway]:
    gateway = open_gateway(folder, tls=tls)
    try:
        yield gateway
    finally:
        gateway.close()
