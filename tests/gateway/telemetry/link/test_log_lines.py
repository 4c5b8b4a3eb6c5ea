"""Which fields of a log line are handed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from support.virtual import run

from gateway.telemetry.link.log_lines import LinkHandler


def test_what_another_program_has_printed_stays_in_our_own_log() -> None:
    taken: list[Mapping[str, Any]] = []

    async def main() -> None:
        handler = LinkHandler(taken.append, asyncio.get_running_loop())
        fields = {"server": "crm", "line": "my key is sk-1"}
        record = logging.getLogger("gateway.tools").makeRecord(
            "gateway.tools", logging.INFO, "", 0, "mcp server wrote to stderr", (), None, extra=fields
        )
        handler.handle(record)

    run(main())
    (line,) = taken
    assert (line["message"], line["server"]) == ("mcp server wrote to stderr", "crm")
    assert "sk-1" not in str(line)
