"""The thread that writes spools: it writes in order, its queue is bounded, and a bad folder affects no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.recording.sink import Sink
from gateway.recording.writer import SpoolWriter


def test_blocks_are_written_in_order_and_settled_returns_after_that(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SpoolWriter()
        writer.start()
        sink = Sink(tmp_path / "deep" / "call")
        for number in range(100):
            assert writer.append(sink, [("a", bytes([number])), ("b", bytearray(2))])
        async with asyncio.timeout(5):
            await writer.settled()
        assert (sink.folder / "a").read_bytes() == bytes(range(100))
        assert (sink.folder / "b").stat().st_size == 200
        assert writer.pending_bytes == 0
        await writer.close()

    asyncio.run(main())


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SpoolWriter()
        writer.start()
        sink = Sink(tmp_path / "call")
        writer.append(sink, [("a", b"last words")])
        await writer.close()
        assert (sink.folder / "a").read_bytes() == b"last words"
        await writer.close()

    asyncio.run(main())


def test_a_block_that_exceeds_the_bound_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SpoolWriter(max_bytes=10)
        writer.start()
        assert not writer.append(Sink(tmp_path / "call"), [("a", bytes(11))])
        assert writer.refused_blocks == 1
        assert writer.append(Sink(tmp_path / "call"), [("a", bytes(10))])
        await writer.close()

    asyncio.run(main())


def test_a_folder_that_cannot_be_written_does_not_affect_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SpoolWriter()
        writer.start()
        (tmp_path / "file").touch()
        bad, good = Sink(tmp_path / "file" / "call"), Sink(tmp_path / "call")
        writer.append(bad, [("a", b"x")])
        writer.append(bad, [("a", b"y")])
        writer.append(good, [("a", b"z")])
        async with asyncio.timeout(5):
            await writer.settled()
        assert bad.failed == "Not a directory"
        assert good.failed is None
        assert (good.folder / "a").read_bytes() == b"z"
        await writer.close()

    asyncio.run(main())


def test_a_discarded_folder_is_not_made_again(tmp_path: Path) -> None:
    async def main(inline: bool) -> None:
        writer = SpoolWriter(inline=inline)
        writer.start()
        sink = Sink(tmp_path / "call")
        writer.append(sink, [("a", b"x")])
        async with asyncio.timeout(5):
            await writer.discard(sink)
        writer.append(sink, [("a", b"late")])
        await writer.close()
        assert not sink.folder.exists()

    asyncio.run(main(inline=False))
    asyncio.run(main(inline=True))


def test_inline_blocks_are_written_at_once(tmp_path: Path) -> None:
    writer = SpoolWriter(inline=True)
    sink = Sink(tmp_path / "call")
    assert writer.append(sink, [("a", b"x")])
    assert (sink.folder / "a").read_bytes() == b"x"
