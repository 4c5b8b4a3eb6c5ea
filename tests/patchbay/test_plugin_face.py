"""The `patchbay` package: all that a plugin file imports, and cheap to import."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import patchbay
from gateway.clock import SystemClock
from gateway.tools.plugins import load_functions

ROOT = Path(__file__).parents[2]
HEAVY = ("fastapi", "numpy", "mcp", "pydantic", "uvicorn")

PLUGIN = '''
from patchbay import ToolContext, ToolFailed, ToolResult, tool

@tool
async def points(card: str, context: ToolContext) -> dict[str, int]:
    """How many points a card has."""
    if card != "K7":
        raise ToolFailed("There is no such card.")
    return {"points": len(context.agent)}

@tool
def goodbye() -> ToolResult:
    """Say goodbye."""
    return ToolResult("Goodbye.", then="hang_up")
'''


def run(folder: Path, name: str, arguments: dict[str, str]) -> patchbay.ToolResult:
    (folder / "house.py").write_text(PLUGIN)
    context = patchbay.ToolContext("s", "desk", {}, SystemClock())
    return asyncio.run(load_functions(folder)[name].run(arguments, context))


def test_a_plugin_that_imports_only_patchbay_is_loaded_and_its_tools_run(tmp_path: Path) -> None:
    assert run(tmp_path, "points", {"card": "K7"}).text == '{"points":4}'
    assert run(tmp_path, "goodbye", {}) == patchbay.ToolResult("Goodbye.", None, "hang_up")


def test_a_plugin_refuses_with_tool_failed(tmp_path: Path) -> None:
    with pytest.raises(patchbay.ToolFailed, match=r"There is no such card\."):
        run(tmp_path, "points", {"card": "none"})


def test_importing_patchbay_loads_nothing_heavy() -> None:
    code = f"import json, sys, patchbay; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []
