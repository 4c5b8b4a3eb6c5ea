"""Gateways that really run, for the tests of real clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.client_house import House, open_house
from peers.socket_harness import WIRES, Wire


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each way in which the sockets of a test can be carried."""
    return WIRES[request.param]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway over plain HTTP."""
    yield from _house(tmp_path_factory.mktemp("house"), tls=False)


@pytest.fixture(scope="session")
def tls_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway over TLS, with a certificate that only its own file vouches for."""
    yield from _house(tmp_path_factory.mktemp("tls-house"), tls=True)


def _house(folder: Path, *, tls: bool) -> Iterator[House]:
    house = open_house(folder, tls=tls)
    try:
        yield house
    finally:
        house.close()
