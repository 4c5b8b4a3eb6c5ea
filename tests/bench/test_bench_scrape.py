"""The book that a scrape is measured with, and the worst of several scrapes."""

from __future__ import annotations

import asyncio

from bench.figures import Scrape
from bench.scrape import Pass, filled, scrape, worst
from gateway.telemetry.writing import FiguresText


def test_a_book_is_filled_with_the_series_that_are_asked_for() -> None:
    text = asyncio.run(FiguresText(filled(500), inline=True).whole())
    lines = [line for line in text.splitlines() if not line.startswith(b"#")]
    assert 500 <= len(lines) < 700  # the last histogram, and what has no labels


def test_a_scrape_is_measured_piece_by_piece() -> None:
    found = asyncio.run(scrape(FiguresText(filled(500), inline=True)))
    assert found.pieces > 10
    assert found.whole_ms > 0
    assert found.longest_held_ms > 0


def test_the_worst_of_several_scrapes_counts() -> None:
    passes = [Pass(30, 10.0, 0.5, 0.9), Pass(30, 14.0, 0.8, 0.8), Pass(30, 12.0, 0.6, 3.0)]
    assert worst(2004, passes) == Scrape(2004, 30, 3, 12.0, 0.8, 3.0)
