"""An MCP server's own spans are in the trace of the turn that called it, below the span of the tool call."""

from __future__ import annotations

import json
import time
from pathlib import Path

from peers.demo_desk import call, demo_desk, needs_local
from peers.server_process import ROOT
from peers.telemetry_receivers import receiving

pytestmark = [needs_local]
WORDS = ("I want to book a table", "two people", "tomorrow at seven pm", "my name is Robinson", "yes please")
ARRIVED_S = 20.0


def test_the_spans_of_the_booking_server_are_in_the_turn_that_booked(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    with receiving() as receiver:
        traces = f"{receiver.url}/v1/traces"
        told = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        servers = json.loads((ROOT / "mcp.json").read_text())
        servers["mcpServers"]["bookings"]["env"] |= told
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces}
        with demo_desk(folder, settings, mcp_json=json.dumps(servers)) as server:
            texts = [argument for word in WORDS for argument in ("--text", word)]
            report = call(server, "front-desk", *texts, save=folder / "call.wav")
            server.ended(report["session_id"])
        until = time.monotonic() + ARRIVED_S
        while not (calls := [span for span in receiver.spans() if span.name == "execute_tool book_table"]):
            assert time.monotonic() < until, [span.name for span in receiver.spans()]
            time.sleep(0.1)
        [booking] = calls
        theirs = [span for span in receiver.spans() if span.parent == booking.span]
    assert [span.name for span in theirs] == ["tools/call book_table"], theirs
    assert theirs[0].trace == booking.trace
    assert theirs[0].attributes["mcp.method.name"] == "tools/call"
