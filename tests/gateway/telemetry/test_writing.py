"""The figures as text: in short pieces, with the loop free after each, and readable by Prometheus' own parser."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from support.calls.call_rig import turn

from gateway.telemetry.figures import Figures
from gateway.telemetry.names import CALL_DURATION, CALLS_STARTED, FAMILIES, TURN_LATENCY, TURNS
from gateway.telemetry.writing import PIECE_LINES, FiguresText

HISTOGRAM_LINES = 18  # of one series of the longest histogram


def full() -> Figures:
    """A book with more than two thousand series."""
    figures = Figures()
    for agent in range(100):
        figures.observe(TURN_LATENCY, agent / 50, f"agent_{agent}", "scripted/desk")
        for protocol in range(5):
            figures.add(CALLS_STARTED, f"agent_{agent}", f"protocol_{protocol}")
    return figures


def test_other_tasks_run_after_each_piece_and_no_piece_is_long() -> None:
    async def main() -> None:
        text = FiguresText(full(), inline=True)
        turns, stop = 0, False

        async def other() -> None:
            nonlocal turns
            while not stop:
                turns += 1
                await turn()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(other())
            pieces = [piece async for piece in text.pieces()]
            stop = True
        lines = [piece.count(b"\n") for piece in pieces]
        assert sum(lines) > 2000
        assert max(lines) <= PIECE_LINES + HISTOGRAM_LINES + 2
        assert turns >= len(pieces) > len(FAMILIES)

    asyncio.run(main())


def test_a_family_in_several_parts_has_one_head_and_all_its_series() -> None:
    async def main() -> None:
        text = (await FiguresText(full(), inline=True).whole()).decode()
        assert text.count("# TYPE patchbay_calls_started_total counter\n") == 1
        assert text.count("# HELP patchbay_turn_latency_seconds ") == 1
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert len(families["patchbay_calls_started"].samples) == 500
        assert len(families["patchbay_turn_latency_seconds"].samples) == 100 * HISTOGRAM_LINES
        assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections"} < families.keys()

    asyncio.run(main())


def test_hostile_names_are_read_back_as_they_were_counted() -> None:
    async def main() -> None:
        figures = Figures()
        names = ('a"b\\c', "{x=1} 7\n# TYPE", "名前\u2028", "\ud800x", "\\n", 'le="+Inf"')
        for name in names:
            figures.add(TURNS, name, "completed")
            figures.observe(CALL_DURATION, 1.5, name)
        text = (await FiguresText(figures, inline=True).whole()).decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        found = {sample.labels["agent"]: sample.value for sample in families["patchbay_turns"].samples}
        assert found == {one.labels[0]: one.value for one in figures.series(TURNS)}
        assert len(found) == len(names)

    asyncio.run(main())


def test_what_was_counted_before_the_library_is_loaded_is_shown() -> None:
    async def main() -> None:
        figures = Figures()
        text = FiguresText(figures)
        figures.add(CALLS_STARTED, "desk", "realtime")
        await text.load()
        await text.load()
        assert b'patchbay_calls_started_total{agent="desk",protocol="realtime"} 1.0\n' in await text.whole()

    asyncio.run(main())
