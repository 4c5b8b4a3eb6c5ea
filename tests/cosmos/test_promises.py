"""The stand-in keeps its promises, and each has a proof that fails when it is broken: both with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from azure.core.exceptions import AzureError

from cosmos import proofs_items, proofs_queries
from cosmos.promises import PROMISES
from cosmos.rig import World, in_world
from cosmos.server import StandIn

# aiohttp warns of large bodies, which the SDK sends as they are.
pytestmark = [pytest.mark.sockets, pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")]

PROOFS: dict[str, Callable[[World], Awaitable[None]]] = {**proofs_items.PROOFS, **proofs_queries.PROOFS}
OVER_TLS = ("token", "role")  # the SDK sends no bearer token over plain http
CASES = [*((promise, 1) for promise in PROOFS), *((promise, 3) for promise in proofs_queries.PROOFS)]


@pytest.mark.parametrize(("promise", "ranges"), CASES)
def test_a_promise_is_kept(promise: str, ranges: int) -> None:
    in_world(PROOFS[promise], ranges=ranges, tls=promise in OVER_TLS)


def test_each_promise_has_its_proof() -> None:
    assert PROOFS.keys() == PROMISES.keys()


@pytest.mark.parametrize("promise", PROMISES)
def test_a_proof_fails_when_its_promise_is_broken(promise: str) -> None:
    with pytest.raises((AssertionError, AzureError)):
        in_world(PROOFS[promise], tls=promise in OVER_TLS, broken=[promise])


def test_a_promise_that_is_none_cannot_be_broken() -> None:
    async def main() -> None:
        StandIn(broken=["ttl", "thrift"])

    with pytest.raises(ValueError, match="no such promise: thrift"):
        asyncio.run(main())
