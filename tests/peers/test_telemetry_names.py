"""Names of any length and any characters, of tools, agents, models and sessions, in what leaves a real server."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import calling, run
from peers.server_process import ROOT, serving
from peers.telemetry_receivers import receiving

from gateway.tools.toolbox import names_of
from sessions.agent import ToolRule

pytestmark = pytest.mark.sockets

ODD = (
    "x" * 300,
    "дай столик " * 20,
    "🙂" * 200,
    "\u202eelbat\u202c\u200f",
    "find\n\t\x00table\x1b[31m\r",
    'quo"te\\back{brace="}',
    "ß" * 64,
    "\u2028\u2029\ufeff",
)
MADE_UP = [f"made up {at} {odd}" for at in range(20) for odd in ODD]
MOST_NAME = 64 + len("realtime_inference ")
MOST_VALUE = 200
NOT_BOUNDED = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.")


def write_files(folder: Path) -> None:
    """An agent whose model has an odd name and calls odd tools, some of which nobody has declared."""
    scripts = folder / "agents" / "scripts"
    scripts.mkdir(parents=True)
    model = "зал🙂 \u202e" + "m" * 120
    agent = {"model": f"scripted/scripts/{model}.yaml", "tools": [{"mcp": "odd"}]}
    (folder / "agents" / "desk.yaml").write_text(json.dumps(agent))
    (scripts / f"{model}.yaml").write_text("turns: []")
    result = {"jsonrpc": "2.0", "id": "ID", "result": {"content": [{"type": "text", "text": "found"}]}}
    (folder / "odd.json").write_text(json.dumps({odd: json.dumps(result) for odd in ODD}))
    server = {"command": sys.executable, "args": ["-m", "peers.odd_mcp", "stdio", str(folder / "odd.json")]}
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"odd": {**server, "env": env}}}))


def script_tools(folder: Path, names: list[str]) -> None:
    """Let the model call these tools, ten in an answer."""
    (script,) = (folder / "agents" / "scripts").iterdir()
    calls = [[{"name": name, "arguments": {}} for name in names[at : at + 10]] for at in range(0, len(names), 10)]
    turns: list[dict[str, Any]] = [{"when": {"text": f"call {at}."}, "calls": each} for at, each in enumerate(calls)]
    head = {"model": "served " + "".join(ODD), "otherwise": {"say": "So it is."}}
    script.write_text(json.dumps({**head, "turns": turns}))


def is_bounded(text: str, most: int) -> bool:
    """Whether a text is short, and shows what it is."""
    return len(text) <= most and text.isprintable()


def test_odd_names_reach_no_label_and_no_span_unbounded(tmp_path: Path) -> None:
    write_files(tmp_path)
    declared = names_of(ToolRule("odd", odd) for odd in ODD)  # as the model knows them
    names = [*declared, *ODD, *MADE_UP]
    script_tools(tmp_path, names)
    settings = {"OTEL_METRIC_EXPORT_INTERVAL": "1000"}
    with receiving() as otlp, serving(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, **settings) as server:
        otlp.wait(lambda: not server.ask("/api/v1/agents")[1]["agents"][0]["tool_servers_down"], "no tools")

        async def main() -> str:
            async with calling(
                server, headers={"traceparent": "x" * 3000, "User-Agent": "🙂".encode().hex()}
            ) as caller:
                for at in range(len(names) // 10 + 1):
                    await caller.say(f"call {at}.")
                    await caller.until("response.done")
                    await caller.until("response.done")
                return caller.session_id

        session = run(main, 60)
        turns = server.ended(session)["summary"]["turns"]
        otlp.wait(lambda: otlp.turns(session) == set(range(turns)), "the call has not come")
        shown = server.ask("/metrics")[1]
        otlp.wait(lambda: "gen_ai.execute_tool.duration" in otlp.metrics(), "the figures have not come")

    spans = otlp.spans()
    tools = [span for span in spans if span.name.startswith("execute_tool")]
    print(f"{len(names)} tool calls, {len(tools)} spans, {len({span.name for span in tools})} names of spans")
    assert len(tools) == len(names)
    assert all(is_bounded(span.name, MOST_NAME) for span in spans), {span.name for span in spans}
    assert sum(span.name == "execute_tool other" for span in tools) == len(ODD) + len(MADE_UP)
    for span in spans:
        for name, value in span.attributes.items():
            texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
            if not name.startswith(NOT_BOUNDED):
                assert all(is_bounded(text, MOST_VALUE) for text in texts), (name, value)

    labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', shown)
    assert all(is_bounded(value.replace("\\\\", "\\").replace('\\"', '"'), 64) for _, value in labels)
    tool_labels = {value for name, value in labels if name == "gen_ai_tool_name"}
    print(f"{len(tool_labels)} values of gen_ai_tool_name: {sorted(map(ascii, tool_labels))}")
    assert tool_labels == {*declared, "other"}
