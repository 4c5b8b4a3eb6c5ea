from __future__ import annotations

from audio.line_in import LineCounts
from gateway.calls.line_sums import LineSums


def test_the_lines_of_telephones_are_added_up() -> None:
    sums = LineSums()
    for line in (LineCounts(1, 2, 3), None, LineCounts(10, 20, 30)):
        sums.add(line)
    assert (sums.late_ms, sums.filled_ms, sums.clipped_ms) == (11, 22, 33)
