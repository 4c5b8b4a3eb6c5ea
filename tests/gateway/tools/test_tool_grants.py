"""Grants that cannot be met stop the start: servers, functions, and the tools that `offline:` rules call."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.agents.files import AgentFileError, load_agent
from gateway.tools.grants import GrantCheck

CHECK = GrantCheck({"book", "crm"}, {"hang_up", "current_time"}, Path("mcp.json"))
RULES = """
model: local/offline
offline:
  rules:
    - {name: hello, phrases: [hello], say: Hello.}
    - name: find
      phrases: [find]
      call:
        tool: find_table
"""


def check(folder: Path, text: str, by: GrantCheck = CHECK) -> None:
    path = folder / "desk.yaml"
    path.write_text(text)
    load_agent(path, by.check)


def refused(folder: Path, text: str, by: GrantCheck = CHECK) -> str:
    with pytest.raises(AgentFileError) as caught:
        check(folder, text, by)
    return str(caught.value).removeprefix(f"{folder}/")


def test_servers_and_functions_that_exist_are_granted(tmp_path: Path) -> None:
    check(tmp_path, "model: openai/x\ntools: [{mcp: book}, {mcp: crm, allow: [look]}, {function: hang_up}]\n")


def test_a_server_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    text = "model: openai/x\ntools:\n  - mcp: book\n  - mcp: nope\n"
    assert refused(tmp_path, text) == (
        "desk.yaml:4: tools[1].mcp: there is no MCP server 'nope' switched on in mcp.json; there are book, crm"
    )
    nothing = GrantCheck((), ("hang_up",), Path("mcp.json"))
    assert refused(tmp_path, text, nothing).endswith("'book' switched on in mcp.json; there are none")


def test_a_function_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "model: openai/x\ntools:\n  - function: nope\n") == (
        "desk.yaml:3: tools[0].function: there is no function tool 'nope'; there are current_time, hang_up"
    )


@pytest.mark.parametrize(
    "grants",
    [
        "[{mcp: book}]",
        "[{mcp: book, allow: [find_table]}]",
        "[{function: hang_up}, {mcp: crm, allow: {find_table: {deadline_s: 3}}}]",
    ],
)
def test_a_rule_may_call_a_granted_or_possibly_granted_tool(tmp_path: Path, grants: str) -> None:
    check(tmp_path, f"{RULES}tools: {grants}\n")


@pytest.mark.parametrize(
    ("grants", "has"),
    [
        ("[]", "it has none"),
        ("[{function: hang_up}]", "it has hang_up"),
        ("[{mcp: book, allow: [look]}]", "it has look"),
        # Two servers have a tool of this name, so both get their label in front.
        (
            "[{mcp: book, allow: [find_table]}, {mcp: crm, allow: [find_table]}]",
            "it has book__find_table, crm__find_table",
        ),
    ],
)
def test_a_rule_that_calls_a_tool_without_a_grant_is_refused(tmp_path: Path, grants: str, has: str) -> None:
    assert refused(tmp_path, f"{RULES}tools: {grants}\n") == (
        f"desk.yaml:9: offline.rules[1].call.tool: the agent has no tool 'find_table'; grant it under `tools`: {has}"
    )


def test_rules_may_call_tools_that_a_client_may_declare(tmp_path: Path) -> None:
    check(tmp_path, f"{RULES}client_may_set: [tools]\n")


def test_rules_are_not_checked_for_another_model(tmp_path: Path) -> None:
    check(tmp_path, RULES.replace("local/offline", "openai/x"))


def test_rules_of_a_wrong_shape_are_left_to_their_own_check(tmp_path: Path) -> None:
    for rules in ("3", "[3]", "[{call: 3}]", "[{call: {tool: 3}}]", "[{name: a}]"):
        check(tmp_path, f"model: local/offline\noffline: {{rules: {rules}}}\n")
