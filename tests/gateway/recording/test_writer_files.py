"""The spool writer's files stay open while a call runs, within a bound, and are closed with it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gateway.recording.sink import OpenFiles, Sink
from gateway.recording.writer import SpoolWriter


def open_under(folder: Path) -> int:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(os.path.islink(link) and os.readlink(link).startswith(str(folder)) for link in links)


def test_files_stay_open_up_to_the_bound_until_their_sink_is_closed(tmp_path: Path) -> None:
    files = OpenFiles(most=3)
    sinks = [Sink(tmp_path / name) for name in ("one", "two")]
    for number in (b"1", b"2"):
        for sink in sinks:
            sink.write([("a", [number, number]), ("b", number)], files)
    assert open_under(tmp_path) == files.count == 3
    for sink in sinks:
        assert (sink.folder / "a").read_bytes() == b"1122"
        assert (sink.folder / "b").read_bytes() == b"12"
        sink.close(files)
    assert open_under(tmp_path) == files.count == 0
    sinks[0].write([("a", b"3")], files)
    sinks[0].discard(files)
    assert files.count == 0
    assert not sinks[0].folder.exists()


def test_many_buffers_are_written_in_order(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "call")
    payloads = [bytes([number % 256]) * 3 for number in range(2500)]
    sink.write([("a", payloads)])
    assert (sink.folder / "a").read_bytes() == b"".join(payloads)
    assert open_under(tmp_path) == 0


def test_settling_a_call_closes_its_files(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SpoolWriter()
        writer.start()
        sink = Sink(tmp_path / "call")
        assert writer.append(sink, [("a", [b"x", b"y"])])
        async with asyncio.timeout(5):
            await writer.settled(sink)
        assert (sink.folder / "a").read_bytes() == b"xy"
        assert open_under(tmp_path) == 0
        await writer.close()

    asyncio.run(main())


def test_a_gathered_block_is_written_after_a_short_time(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        written = loop.create_future()

        class Watched(Sink):
            def write(self, parts, files=None):  # type: ignore[no-untyped-def]
                super().write(parts, files)
                loop.call_soon_threadsafe(written.set_result, None)

        writer = SpoolWriter()
        writer.start()
        writer.append(Watched(tmp_path / "call"), [("a", b"x")])
        async with asyncio.timeout(5):
            await written
        assert (tmp_path / "call" / "a").read_bytes() == b"x"
        await writer.close()

    asyncio.run(main())
