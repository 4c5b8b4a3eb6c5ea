"""The lines of all telephone calls together, for the metrics."""

from __future__ import annotations

from audio.line_in import LineCounts


class LineSums:
    """Adds up the lines of the calls that have ended since the process began."""

    def __init__(self) -> None:
        self.late_ms = 0
        self.filled_ms = 0
        self.clipped_ms = 0

    def add(self, line: LineCounts | None) -> None:
        """Add the line of a call that has ended; None for a caller without a telephone."""
        if line is not None:
            self.late_ms += line.late_ms
            self.filled_ms += line.filled_ms
            self.clipped_ms += line.clipped_ms
