"""`patchbay serve` that cannot start (exit code 1, one line that says what to change), and how faults are logged."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import virtual
from support.calls.call_rig import later

from gateway.app import Gateway, Overrides
from gateway.cli.serve import serve
from gateway.clock import LoopClock, SystemClock
from gateway.config.settings import Settings
from gateway.ids import CountingIds
from gateway.logs import JsonLines, trace_of
from gateway.upkeep import PURGE_EVERY_S

AGENT = "model: scripted/scripts/desk.yaml\ninstructions: None.\n"
SCRIPT = "model: desk\n"
RULES = """\
model: local/offline
offline:
  rules:
    - name: hello
      phrases: [hello]
      call: {tool: nope}
      say: "{result}"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with all files that a server needs. Logging is restored afterwards."""
    for name in [name for name in os.environ if name.startswith(("PATCHBAY_", "OPENAI_", "AZURE_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "agents" / "scripts").mkdir(parents=True)
    (tmp_path / "agents" / "desk.yaml").write_text(AGENT)
    (tmp_path / "agents" / "scripts" / "desk.yaml").write_text(SCRIPT)
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHBAY_PORT", "0")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path
    root.handlers[:] = handlers
    root.setLevel(level)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line that a failed start prints."""
    assert serve(list(arguments)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("patchbay: ")
    assert err.count("\n") == 1, err
    return err.removeprefix("patchbay: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("agents/desk.yaml", "model: [\n", "agents/desk.yaml:1: is not YAML"),
        ("agents/desk.yaml", AGENT + "limits:\n  minutes: many\n", "agents/desk.yaml:4: limits.minutes: must be"),
        ("agents/desk.yaml", AGENT + "colour: red\n", "agents/desk.yaml:3: colour: "),
        ("agents/scripts/desk.yaml", "pace: slow\n", "agents/scripts/desk.yaml:1: pace: must be"),
        ("patchbay.yaml", "\ndrain_s: soon\n", "patchbay.yaml:2: drain_s: must be"),
        ("patchbay.yaml", "max_cals: 3\n", "patchbay.yaml:1: max_cals: there is no such setting"),
        (
            "agents/desk.yaml",
            AGENT + "tools: [{mcp: nope}]\n",
            "agents/desk.yaml:3: tools[0].mcp: there is no MCP server",
        ),
        (
            "agents/desk.yaml",
            AGENT + "tools:\n  - function: nope\n",
            "agents/desk.yaml:4: tools[0].function: there is no",
        ),
        ("agents/desk.yaml", "\nmodel: local/ofline\n", "agents/desk.yaml:2: model: there is no local/ofline"),
        ("agents/desk.yaml", RULES, "agents/desk.yaml:6: offline.rules[0].call.tool: the agent has no tool 'nope'"),
        (".env", "PATCHBAY_MAX_CALLS=many\n", ".env:1: PATCHBAY_MAX_CALLS: must be"),
        ("mcp.json", '{"mcpServers": {\n  "a": {"command": 3}}}', "mcp.json:2: mcpServers.a.command: must be a text"),
        ("mcp.json", '{"mcpServers": {\n  "a": }}', "mcp.json:2: is not JSON"),
        ("plugins/mine.py", "\nimport nothing_of_this_name\n", "plugins/mine.py:2: ModuleNotFoundError"),
        ("plugins/mine.py", "def mine(:\n", "plugins/mine.py:1: invalid syntax"),
        ("plugins/mine.py", "class E(Exception): ...\n\nraise E('no')\n", "plugins/mine.py:3: E: no"),
        ("plugins/mine.py", "raise SystemExit('no')\n", "plugins/mine.py:1: SystemExit: no"),
        ("data", "a file where the folder should be", "PATCHBAY_DATA_DIR: data cannot be used"),
    ],
)
def test_a_bad_file_stops_the_start(
    home: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, expected: str
) -> None:
    (home / name).write_text(text)
    assert expected in refused(capsys)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PATCHBAY_MAX_CALLS", "many", "PATCHBAY_MAX_CALLS: must be"),
        ("PATCHBAY_AGENTS_DIR", "nowhere", "agents are looked for in "),
        ("PATCHBAY_HOST", "0.0.0.0", "PATCHBAY_HOST: without API keys the server listens on this machine only"),
        ("PATCHBAY_STORE", "sqlite:///proc/nowhere/x.db", "PATCHBAY_STORE: /proc/nowhere/x.db cannot be opened"),
        ("PATCHBAY_STORE", "sqlite://./agents/desk.yaml", "PATCHBAY_STORE: ./agents/desk.yaml is damaged, or is not"),
        ("PATCHBAY_STORE", "cosmos://x", "PATCHBAY_STORE: must name one database and one container"),
        ("PATCHBAY_MCP_CONFIG", "nowhere.json", "PATCHBAY_MCP_CONFIG: there is no file nowhere.json"),
        ("PATCHBAY_PLUGINS_DIR", "nowhere", "PATCHBAY_PLUGINS_DIR: there is no folder nowhere"),
        ("PATCHBAY_MODEL_CA", "agents/desk.yaml", "PATCHBAY_MODEL_CA: the file must hold PEM certificates"),
    ],
)
def test_a_bad_setting_stops_the_start(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    expected: str,
) -> None:
    (home / "agents" / "desk.yaml").write_text(AGENT + "#" * 500)  # long enough for the header of a database file
    monkeypatch.setenv(name, value)
    assert refused(capsys).startswith(expected)


@pytest.mark.parametrize("port", ["70000", "-1", "http", "9" * 5000])
def test_a_port_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit) as ended:
        serve([f"--port={port}"])
    assert ended.value.code == 2
    assert "argument --port: a port is a number from 0 to 65535" in capsys.readouterr().err


def test_an_unusable_certificate_stops_the_start(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATCHBAY_TLS_CERT", "PATCHBAY_TLS_KEY"):
        monkeypatch.setenv(name, "agents/desk.yaml")
    assert refused(capsys).startswith("PATCHBAY_TLS_CERT: the file must hold a certificate chain")


def test_a_gateway_that_breaks_as_a_whole_keeps_the_reason(home: Path) -> None:
    settings = Settings(data_dir=home / "data", agents_dir=home / "agents", plugins_dir=None, mcp_config=home / "none")

    async def main() -> Gateway:
        gateway = Gateway(settings, SystemClock(), CountingIds(), Overrides(inline=True))
        with pytest.raises(ExceptionGroup):
            async with gateway.running():
                raise RuntimeError("from within")
        return gateway

    gateway = asyncio.run(main())
    assert gateway.fault is not None
    assert not gateway.ready


def test_a_store_that_fails_when_old_sessions_are_deleted_affects_nothing_else(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=home / "data", agents_dir=home / "agents", plugins_dir=None, mcp_config=home / "none")

    async def main() -> Gateway:
        gateway = Gateway(settings, LoopClock(asyncio.get_running_loop(), 1e9), CountingIds(), Overrides(inline=True))
        async with gateway.running():
            await gateway.store.close()
            await later(2 * PURGE_EVERY_S)
            assert gateway.ready
        return gateway

    assert virtual.run(main()).fault is None
    assert "old sessions could not be removed" in caplog.messages


def test_a_non_exception_in_place_of_an_exception_loses_no_log_line() -> None:
    odd: Any = (ValueError, ValueError.args, None)
    record = logging.getLogger("test").makeRecord("test", logging.ERROR, "", 0, "SSL handshake failed", (), odd)
    line = orjson.loads(JsonLines().format(record))
    assert (line["message"], "exception" in line) == ("SSL handshake failed", False)


def test_a_fault_is_logged_by_type_and_place_but_never_by_its_words() -> None:
    def fail() -> None:
        try:
            {}["xylophone"]  # type: ignore[index]
        except KeyError as error:
            raise ValueError("the caller said marmalade") from error

    try:
        try:
            fail()
        except ValueError as error:
            raise ExceptionGroup("zanzibar", [error]) from None
    except ExceptionGroup as group:
        logger = logging.getLogger("test")
        record = logger.makeRecord("test", logging.ERROR, "", 0, "call broke", (), (type(group), group, None))
        line = orjson.loads(JsonLines().format(record))
        assert line["message"] == "call broke"
        for word in ("xylophone", "marmalade", "zanzibar"):
            assert word not in str(line)
        lines = trace_of(group).splitlines()
        assert [line for line in lines if line in ("KeyError", "which led to", "ValueError", "ExceptionGroup")] == [
            "ExceptionGroup",
            "KeyError",
            "which led to",
            "ValueError",
        ]
        assert any(line.endswith(" fail") and "test_serve.py:" in line for line in lines)
