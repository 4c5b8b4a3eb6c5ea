"""The stand-in for Cosmos DB in a process of its own: it says where it listens, and is steered from outside."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.cosmos import PartitionKey
from azure.cosmos.aio import ContainerProxy, CosmosClient
from cosmos.process import ROOT, Remote, running
from cosmos.rig import KEY_OF_A, POLICY, item, status

pytestmark = pytest.mark.sockets


async def work(remote: Remote) -> None:
    """Write and read some items, among faults."""
    async with CosmosClient(remote.url, remote.key) as client:
        database = await client.create_database_if_not_exists("patchbay")
        key = PartitionKey(["/tenant", "/session_id"], kind="MultiHash")
        items = await database.create_container_if_not_exists("calls", key, indexing_policy=POLICY, default_ttl=-1)
        await items.upsert_item(item("here", ttl=60))
        remote.control("POST", "faults", {"kind": "cut", "after_commit": True, "count": 1})
        assert await status(items.create_item(item("lost"))) == 409
        assert remote.control("GET", "counters")["cut"] == 1
        remote.control("POST", "clock", {"set_s": time.time() + 61})
        assert await status(items.read_item("here", KEY_OF_A)) == 404
        remote.control("POST", "gone", {"for_s": 0.3})
        with pytest.raises((ServiceRequestError, TimeoutError)):
            await reading(items, 0.2)
        assert await status(items.read_item("lost", KEY_OF_A)) == 200  # it is back with all that it had


async def reading(items: ContainerProxy, seconds: float) -> None:
    """Read again and again; raises what a read raises, or TimeoutError at the end."""
    async with asyncio.timeout(seconds):
        while True:
            await items.read_item("lost", KEY_OF_A)


def test_a_stand_in_in_a_process_of_its_own_is_steered_over_http(capfd: pytest.CaptureFixture[str]) -> None:
    with running("--ranges", "3") as remote:
        asyncio.run(work(remote))
        with pytest.raises(HTTPError, match="400"):
            remote.control("POST", "broken", ["thrift"])
    assert remote.process.returncode == 0
    assert capfd.readouterr().err == ""
    with pytest.raises(URLError):
        remote.control("GET", "counters")


def test_a_stand_in_that_is_killed_is_gone() -> None:
    with running("--write-regions", "2", "--broken", "ttl") as remote:
        remote.kill()
    assert remote.process.returncode == -9


def test_the_contract_for_a_real_account_runs_against_the_stand_in() -> None:
    tests = [str(Path(__file__).with_name("test_cosmos_account.py")), "-o", "addopts=--import-mode=importlib"]
    with running() as remote:
        place = f"cosmos+http://127.0.0.1:{remote.port}/patchbay/contract?create=1"
        settings = {"TEST_CONTRACT_STORE": place, "TEST_CONTRACT_COSMOS_KEY": remote.key}
        command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
        )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("the clock of a real account cannot be set by hand") == 2
    assert "2 skipped" in done.stdout


def test_an_option_that_is_none_stops_the_start(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="did not start"), running("--broken", "thrift"):
        raise AssertionError
    assert "no such promise: thrift" in capfd.readouterr().err
