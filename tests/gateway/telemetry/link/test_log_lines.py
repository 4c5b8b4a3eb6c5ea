"""Log lines on their way to the link."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

from support.virtual import run

from gateway.telemetry.link.log_lines import LinkHandler


def record(name: str, level: int, message: str, **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": name, "levelno": level, "levelname": logging.getLevelName(level), **fields})
    made.msg = message
    return made


def test_lines_are_those_of_standard_error() -> None:
    taken: list[Mapping[str, Any]] = []

    async def main() -> None:
        handler = LinkHandler(taken.append, asyncio.get_running_loop())
        handler.handle(record("gateway.calls", logging.INFO, "call started", call_id="s"))
        handler.handle(record("httpx", logging.INFO, "GET /secret"))  # a foreign logger, below a warning
        handler.handle(record("httpx", logging.WARNING, "odd"))

    run(main())
    assert [one["message"] for one in taken] == ["call started", "odd"]
    assert (taken[0]["level"], taken[0]["call_id"], len(taken[0]["trace_id"])) == ("info", "s", 32)


def test_a_line_of_another_thread_is_handed_over_in_the_loops_own() -> None:
    taken: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        handler = LinkHandler(lambda fields: taken.append(fields["message"]), loop)
        await loop.run_in_executor(None, handler.handle, record("gateway", logging.ERROR, "from a thread"))
        await asyncio.sleep(0)

    run(main())
    assert taken == ["from a thread"]


def test_after_the_loop_has_ended_lines_are_dropped() -> None:
    taken: list[Mapping[str, Any]] = []

    async def main() -> LinkHandler:
        return LinkHandler(taken.append, asyncio.get_running_loop())

    handler = run(main())
    late = threading.Thread(target=handler.handle, args=(record("gateway", logging.ERROR, "late"),))
    late.start()
    late.join()
    assert taken == []


def test_what_another_program_has_printed_stays_in_our_own_log() -> None:
    taken: list[Mapping[str, Any]] = []

    async def main() -> None:
        handler = LinkHandler(taken.append, asyncio.get_running_loop())
        fields = {"server": "crm", "line": "my key is sk-1"}
        handler.handle(record("gateway.tools", logging.INFO, "mcp server wrote to stderr", **fields))

    run(main())
    (line,) = taken
    assert (line["message"], line["server"]) == ("mcp server wrote to stderr", "crm")
    assert "sk-1" not in str(line)
