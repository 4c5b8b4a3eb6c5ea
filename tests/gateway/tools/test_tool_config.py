"""The MCP configuration: what is read, and how mistakes are reported."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from gateway.tools.config import HttpServer, McpConfigError, StdioServer, load_mcp_config


def read(tmp_path: Path, document: object, **environ: str) -> dict[str, object]:
    path = tmp_path / "mcp.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return dict(load_mcp_config(path, environ))


def test_a_missing_file_has_no_servers(tmp_path: Path) -> None:
    assert load_mcp_config(tmp_path / "mcp.json", {}) == {}


def test_both_kinds_of_server_are_read_with_secrets_from_the_environment(tmp_path: Path) -> None:
    servers = read(
        tmp_path,
        {
            "mcpServers": {
                "book": {
                    "type": "stdio",
                    "command": "python",
                    "args": ["-m", "book", "--key=${BOOK_KEY}"],
                    "env": {"DB": "${DB:-./book.db}"},
                    "cwd": "servers",
                },
                "crm": {"url": "https://${HOST}/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
                "off": {"command": "x", "disabled": True, "env": {"A": "${NOT_SET}"}},
            }
        },
        BOOK_KEY="k",
        HOST="crm.test",
        TOKEN="t0p",
    )
    assert servers == {
        "book": StdioServer(
            "book", sys.executable, ("-m", "book", "--key=k"), {"DB": "./book.db"}, tmp_path.absolute() / "servers"
        ),
        "crm": HttpServer("crm", "https://crm.test/mcp", {"Authorization": "Bearer t0p"}),
    }
    assert "t0p" not in repr(servers)
    assert "key=k" not in repr(servers)


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ({"command": "x", "env": {"K": "${NOPE}"}}, "mcpServers.s.env.K: the environment variable NOPE is not set"),
        ({"url": "https://h", "headers": {"A": "${NOPE}"}}, "mcpServers.s.headers.A: the environment variable NOPE"),
        ({"url": "https://h", "headers": {"A": "a\nb"}}, "mcpServers.s.headers.A: must be one line"),
        ({"url": "ftp://h"}, "mcpServers.s.url: must be a URL with a host that begins with one of https://"),
        ({"url": "https://h:99999/mcp"}, "mcpServers.s.url: must be a URL"),
        ({"url": 1}, "mcpServers.s.url: must be a text"),
        ({"url": "https://h", "type": "sse"}, "mcpServers.s.type: 'sse' is not supported"),
        ({"url": "https://h", "type": "stdio"}, "mcpServers.s.type: 'stdio' is not supported"),
        ({"url": "https://h", "args": []}, "mcpServers.s.args: is not known here"),
        ({}, "mcpServers.s.command: is missing; write"),
        ({"command": ""}, "mcpServers.s.command: must not be empty"),
        ({"command": "x", "args": "y"}, "mcpServers.s.args: must be a list"),
        ({"command": "x", "args": ["y", 2]}, "mcpServers.s.args[1]: must be a text"),
        (
            {"command": "x", "timeout": "3"},
            "mcpServers.s.timeout: must be a number from 0.001 to 1000000000 (seconds; above",
        ),
        ({"command": "x", "timeout": 0}, "mcpServers.s.timeout: must be from 0.001 to 1000000000, not 0 (seconds"),
        ({"command": "x", "startup_timeout_s": True}, "mcpServers.s.startup_timeout_s: must be a number from"),
        ({"command": "x", "startup_timeout_s": 601}, "mcpServers.s.startup_timeout_s: must be from 0.001 to 600, not"),
        ({"command": "x", "disabledTools": ["y"]}, "mcpServers.s.disabledTools: is not known here; an agent's file"),
        ({"command": "x", "disabled": "yes"}, "mcpServers.s.disabled: must be true or false"),
        ({"command": "x", "enabled": 1}, "mcpServers.s.enabled: must be true or false"),
        ({"serverUrl": "ftp://h"}, "mcpServers.s.serverUrl: must be a URL"),
        ({"serverUrl": "https://h", "url": "https://h"}, "mcpServers.s.serverUrl: url is given too"),
        ({"url": "https://h", "headers": {"A b": "c"}}, "mcpServers.s.headers.A b: is no name of an HTTP header"),
        ({"url": "https://h", "headers": {"A": "é"}}, "mcpServers.s.headers.A: must be of printable ASCII"),
        ([], "mcpServers.s: must be a mapping"),
    ],
)
def test_a_mistake_is_reported_with_file_and_field(tmp_path: Path, server: object, named: str) -> None:
    with pytest.raises(McpConfigError) as error:
        read(tmp_path, {"mcpServers": {"s": server}})
    assert str(error.value).startswith(f"{tmp_path / 'mcp.json'}:1: {named}")


@pytest.mark.parametrize(
    ("times", "startup_ms", "answer_ms"),
    [
        ({}, None, None),
        ({"startup_timeout_s": 20}, 20_000, None),
        ({"startup_timeout_s": 0.5}, 500, None),
        ({"timeout": 5}, 60_000, 5_000),
        ({"timeout": 3600}, 600_000, 3_600_000),
        ({"timeout": 120_000}, 120_000, 120_000),
        ({"timeout": 5000, "startup_timeout_s": 10}, 10_000, 5_000),
    ],
)
def test_how_long_a_server_may_take(
    tmp_path: Path, times: dict[str, float], startup_ms: int | None, answer_ms: int | None
) -> None:
    servers = read(tmp_path, {"mcpServers": {"p": {"command": "x", **times}, "h": {"url": "https://h", **times}}})
    for server in servers.values():
        assert isinstance(server, StdioServer | HttpServer)
        assert (server.startup_ms, server.answer_ms) == (startup_ms, answer_ms)


def test_keys_of_other_mcp_clients_are_understood(tmp_path: Path) -> None:
    servers = read(
        tmp_path,
        {
            "mcpServers": {
                "a": {"httpUrl": "https://a/mcp", "trust": True},
                "b": {"serverUrl": "https://b/mcp", "type": "streamable_http"},
                "off": {"command": "x", "enabled": False},
            }
        },
    )
    assert servers == {"a": HttpServer("a", "https://a/mcp", {}), "b": HttpServer("b", "https://b/mcp", {})}


@pytest.mark.parametrize("label", ["a b", "a__b", "", "x" * 33])
def test_a_server_label_must_be_usable_in_a_tool_name(tmp_path: Path, label: str) -> None:
    with pytest.raises(McpConfigError, match="a server's name has"):
        read(tmp_path, {"mcpServers": {label: {"command": "x"}}})


@pytest.mark.parametrize(
    ("text", "named"),
    [("{\n,", "mcp.json:2: is not JSON"), ("[]", "mcp.json:1: must be a mapping"), ("{}", "mcpServers: must be")],
)
def test_a_file_of_the_wrong_shape_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(McpConfigError, match=named):
        read(tmp_path, text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for content in (b"\xff\xfe{}", b"[" * 200_000, b"9" * 5000):
        (tmp_path / "mcp.json").write_bytes(content)
        with pytest.raises(McpConfigError, match=r"mcp\.json(:1)?: (is|holds a number)"):
            load_mcp_config(tmp_path / "mcp.json", {})
    (tmp_path / "mcp.json").write_bytes(b"\n" + b"[" * 200_000)
    with pytest.raises(McpConfigError, match=r"mcp\.json:2: is nested too deeply"):
        load_mcp_config(tmp_path / "mcp.json", {})
    (tmp_path / "mcp.json").write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(McpConfigError, match=r"mcp\.json: cannot be read: has 1048578 bytes; at most"):
        load_mcp_config(tmp_path / "mcp.json", {})
    with pytest.raises(McpConfigError, match="cannot be read: is a folder; put a plain file there"):
        load_mcp_config(tmp_path, {})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(McpConfigError, match="cannot be read: is a named pipe; put a plain file there"):
        load_mcp_config(tmp_path / "pipe", {})


def test_the_shipped_mcp_json_is_valid() -> None:
    path = Path(__file__).parents[3] / "mcp.json"
    assert set(load_mcp_config(path, {})) == {"bookings"}
