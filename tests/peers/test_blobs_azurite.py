"""Files of calls in Azure Blob Storage, played by azurite: the contract, mistakes in the settings, and the costs."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.azurite import KEY, Azurite, running_azurite
from pydantic import SecretStr
from support.stores.blob_contract import BIG, BlobContract, got, put

from gateway.blobs.azure import AzureBlobs
from gateway.blobs.contract import BlobFailed, BlobMissing, Blobs
from gateway.blobs.opening import make_blobs, open_or_wait
from gateway.config.blob_places import AzurePlace, read_blob_place

pytest.importorskip("azure.storage.blob", reason="pip install patchbay[azure-blob]")
pytestmark = [pytest.mark.node]

MIB = 1 << 20


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with running_azurite() as running:
        yield running


def blobs_at(setting: str, key: str = KEY) -> Blobs:
    return make_blobs(setting, SecretStr(key))


class TestContract(BlobContract):
    @pytest.fixture(autouse=True)
    def at(self, azurite: Azurite) -> None:
        self.azurite = azurite

    def make(self, folder: Path) -> Blobs:
        return blobs_at(self.azurite.place())


def client_of(azurite: Azurite, container: str) -> object:
    """A client of the SDK, synchronous, that looks at what the store has made."""
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.storage.blob import ContainerClient

    place = read_blob_place(azurite.place(container))
    assert isinstance(place, AzurePlace)
    credential = AzureNamedKeyCredential(place.account, KEY)
    return ContainerClient(place.account_url, container, credential=credential, api_version="2026-06-06")


def test_blobs_have_names_types_and_a_private_container(azurite: Azurite, tmp_path: Path) -> None:
    container = "names-and-types"

    async def main() -> None:
        blobs = blobs_at(azurite.place(container))
        await blobs.open()
        for name, content in (("recording.flac", BIG), ("events.jsonl", b"{}"), ("caller.raw", b"x")):
            await put(blobs, tmp_path, name, content, tenant="acme corp")
        await blobs.close()

    asyncio.run(main())
    client: object = client_of(azurite, container)
    with client as found:  # type: ignore[attr-defined]
        assert found.get_container_properties().public_access is None
        types = {blob.name: blob.content_settings.content_type for blob in found.list_blobs()}
    assert types == {
        "acme%20corp/s1/recording.flac": "audio/flac",
        "acme%20corp/s1/events.jsonl": "application/jsonl",
        "acme%20corp/s1/caller.raw": "application/octet-stream",
    }


def failure_at_start(setting: str, key: str = KEY) -> BlobFailed:
    async def main() -> BlobFailed:
        blobs = blobs_at(setting, key)
        try:
            await blobs.open()
        except BlobFailed as error:
            return error
        finally:
            await blobs.close()
        raise AssertionError("the blob store was opened")

    return asyncio.run(main())


def test_a_wrong_setting_stops_the_start_and_the_message_says_what_to_do(azurite: Azurite) -> None:
    missing = failure_at_start(azurite.place("not-there", create=False))
    assert (missing.passing, "no container not-there" in str(missing)) == (False, True)
    assert "?create=1" in str(missing)
    other = b64encode(b"another key of the tests, as long").decode()
    refused = failure_at_start(azurite.place("not-there"), other)
    assert (refused.passing, "PATCHBAY_BLOB_KEY" in str(refused)) == (False, True)
    assert other not in str(refused)
    account = failure_at_start(azurite.place("not-there").replace("patchbaytests", "nobody"))
    assert not account.passing

    async def main() -> None:
        with pytest.raises(BlobFailed, match=r"PATCHBAY_BLOBS: .*not-there"):
            await open_or_wait(blobs_at(azurite.place("not-there", create=False)))

    asyncio.run(main())


def test_a_container_that_everybody_can_read_is_refused(azurite: Azurite) -> None:
    with client_of(azurite, "open-to-all") as client:  # type: ignore[attr-defined]
        client.create_container(public_access="blob")
    found = failure_at_start(azurite.place("open-to-all"))
    assert (found.passing, "private" in str(found)) == (False, True)


def test_a_store_that_is_reached_only_later_is_used_then(tmp_path: Path) -> None:
    async def main(azurite: Azurite) -> None:
        azurite.stop()
        blobs = blobs_at(azurite.place("later"))
        began = time.monotonic()
        await open_or_wait(blobs)
        with pytest.raises(BlobFailed) as failed:
            await put(blobs, tmp_path, "a", BIG)
        assert failed.value.passing
        assert time.monotonic() - began < 10
        azurite.start()
        await put(blobs, tmp_path, "a", BIG)
        assert await got(blobs, "a") == BIG
        await blobs.close()

    with running_azurite() as azurite:
        asyncio.run(main(azurite))


def test_a_container_that_was_removed_is_made_again_if_the_setting_says_so(azurite: Azurite, tmp_path: Path) -> None:
    async def main(*, create: bool) -> None:
        container = f"removed-{int(create)}"
        blobs = blobs_at(azurite.place(container))
        await blobs.open()
        await put(blobs, tmp_path, "a", b"1")
        await blobs.close()
        blobs = blobs_at(azurite.place(container, create=create))
        await blobs.open()
        with client_of(azurite, container) as client:  # type: ignore[attr-defined]
            client.delete_container()
        for _ in range(2):
            with pytest.raises(BlobFailed) as failed:
                await put(blobs, tmp_path, "a", b"1")
            assert failed.value.passing
            if create:
                break
        if create:
            await put(blobs, tmp_path, "a", b"1")
            assert await got(blobs, "a") == b"1"
        else:
            with pytest.raises(BlobFailed, match="no container"):
                await blobs.size("t", "s1", "a")
            await blobs.delete_session("t", "s1")
        await blobs.close()

    asyncio.run(main(create=False))
    asyncio.run(main(create=True))


def test_a_batch_of_deletions_has_no_end_at_its_limit(azurite: Azurite, tmp_path: Path) -> None:
    async def main() -> None:
        blobs = blobs_at(azurite.place())
        await blobs.open()
        (tmp_path / "x").write_bytes(b"x")
        for number in range(260):
            await blobs.put_file("t", "s1", f"f{number}", tmp_path / "x")
        await blobs.delete_session("t", "s1")
        for number in (0, 255, 256, 259):
            with pytest.raises(BlobMissing):
                await blobs.size("t", "s1", f"f{number}")
        await blobs.close()

    asyncio.run(main())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def test_recordings_of_10_mb_cost_little_memory_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = 100 if os.environ.get("TEST_LONG_TESTS") == "1" else 20
    figures: list[str] = []

    async def main(azurite: Azurite) -> None:
        blobs = blobs_at(azurite.place())
        await blobs.open()
        source = tmp_path / "recording.flac"
        source.write_bytes(os.urandom(10_000_000))
        await blobs.put_file("t", "warm", "recording.flac", source)
        for side_by_side in (1, 4):
            before, highest = rss_mib(), rss_mib()
            times: list[float] = []
            numbers = iter(range(recordings))

            async def one() -> None:
                nonlocal highest
                for number in numbers:  # noqa: B023
                    began = time.perf_counter()
                    await blobs.put_file("t", f"s{number}", "recording.flac", source)
                    times.append(time.perf_counter() - began)  # noqa: B023
                    highest = max(highest, rss_mib())

            async def watch() -> None:
                nonlocal highest
                while True:
                    await asyncio.sleep(0.005)
                    highest = max(highest, rss_mib())

            cpu, began = time.process_time(), time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch())
                async with asyncio.TaskGroup() as uploads:
                    for _ in range(side_by_side):
                        uploads.create_task(one())
                watching.cancel()
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            assert len(times) == recordings
            times.sort()
            figures.append(
                f"{side_by_side} at once: {recordings} x 10 MB in {took:.1f} s, each p50 "
                f"{times[recordings // 2]:.3f} s, slowest {times[-1]:.3f} s, client CPU "
                f"{1000 * cpu / recordings:.0f} ms each, "
                f"RSS + {highest - before:.1f} MiB"
            )
            assert highest - before < 12 * side_by_side + 8
        firsts: list[float] = []
        for number in range(100):
            began = time.perf_counter()
            pieces = blobs.read("t", f"s{number % recordings}", "recording.flac", 90_000 * number, 65_536)
            assert len(await anext(pieces)) == 65_536
            firsts.append(1000 * (time.perf_counter() - began))
        firsts.sort()
        figures.append(f"first byte of a range of 64 KiB: p50 {firsts[50]:.1f} ms, p99 {firsts[98]:.1f} ms (n = 100)")
        whole: list[float] = []
        for number in range(20):
            began = time.perf_counter()
            pieces = blobs.read("t", f"s{number}", "recording.flac")
            await anext(pieces)
            whole.append(1000 * (time.perf_counter() - began))
        whole.sort()
        figures.append(f"first byte of a whole recording: p50 {whole[10]:.1f} ms (n = 20)")
        await blobs.close()

    with running_azurite() as azurite:
        asyncio.run(main(azurite))
    with capsys.disabled():
        print("\n" + "\n".join(figures))


def test_the_client_is_loaded_in_a_thread(azurite: Azurite) -> None:
    assert isinstance(blobs_at(azurite.place()), AzureBlobs)
