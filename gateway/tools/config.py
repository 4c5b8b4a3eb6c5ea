"""Reads `mcp.json`, in the shape that MCP clients share: `mcpServers`, each with a command or a url.

`${NAME}` and `${NAME:-default}` in a text are replaced from the environment when the file is read. The command `python`
means the interpreter that runs Patchbay, so that a server finds the same packages. A relative `cwd` counts from the
file's folder, which is also the default.
Source: modelcontextprotocol.io/docs/develop/connect-local-servers, and the clients that follow it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gateway.config.section import Section
from gateway.config.urls import read_url
from gateway.config.value_file import FileProblem, json_file, read_file_if_there

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TIME_KEYS = ("startup_timeout_s", "timeout")
_STDIO_KEYS = ("command", "args", "env", "cwd", *_TIME_KEYS)
# Some clients have another name for `url`.
_URL_KEYS = ("url", "httpUrl", "serverUrl")
_HTTP_KEYS = ("url", "headers", *_TIME_KEYS)
# These keys are read elsewhere, or other clients write them for their own screens and they mean nothing here.
_IGNORED_KEYS = frozenset(
    {"type", "transport", "disabled", "enabled", "description", "autoApprove", "alwaysAllow", "trust", "version"}
    | {"name", "title", "icon", "gallery", "autoStart"}
)
# In other clients these keys choose a server's tools; here each agent does. To ignore such a choice would grant more.
_CHOICE_KEYS = frozenset(
    {"tools", "includeTools", "excludeTools", "enabledTools", "disabledTools", "allowedTools"}
    | {"enabled_tools", "disabled_tools", "allowed_tools", "tool_configuration"}
)
_HTTP_TYPES = ("http", "streamable-http", "streamableHttp", "streamable_http")
MAX_STARTUP_S = 600
# The unit of `timeout` differs between clients: milliseconds in most, and seconds, up to an hour, in some. No one wants
# a time limit under four seconds, so a value up to 3600 is taken as seconds.
_MOST_SECONDS = 3600
# `timeout` is about calls. It may make the time for a start longer, and not shorter than this.
_LEAST_STARTUP_MS = 60_000
_PYTHON = frozenset({"python", "python3"})


class McpConfigError(FileProblem):
    """`mcp.json` cannot be used. Reads `FILE:LINE: FIELD: WHY`."""


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that Patchbay starts and talks to over its standard streams."""

    label: str
    command: str
    # Not shown, since both may hold secrets.
    args: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    # How long a start may take; None: the pool decides.
    startup_ms: int | None = None
    # How long a call may take at most; None: its agent decides.
    answer_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server at an address, over streamable HTTP."""

    label: str
    # Not shown, since both may hold secrets.
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    startup_ms: int | None = None
    answer_ms: int | None = None


@dataclass(frozen=True, slots=True)
class InProcessServer:
    """An MCP server object in this process, for tests and replays that use no sockets and no threads."""

    label: str
    server: object


McpServer: TypeAlias = StdioServer | HttpServer | InProcessServer


def load_mcp_config(path: Path, environ: Mapping[str, str]) -> dict[str, McpServer]:
    """Every enabled server of the file by its label; none where there is no file. Raises McpConfigError."""
    raw = read_file_if_there(path, McpConfigError)
    if raw is None:
        return {}
    file = json_file(raw, path, McpConfigError)
    with file.checking():
        return _Reader(path.parent, environ).servers(Section.of(file.value))


class _Reader:
    """Turns the sections of `mcp.json` into servers."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """A relative `cwd` counts from `folder`."""
        self._folder = folder
        self._environ = environ

    def servers(self, document: Section) -> dict[str, McpServer]:
        """Every enabled server by its label. Raises FieldProblem."""
        servers = document.section("mcpServers")
        found: dict[str, McpServer] = {}
        for label in servers.value:
            if not _LABEL.fullmatch(label) or "__" in label:
                servers.fail(label, "a server's name has 1 to 32 letters, digits, - and _, and no double _")
            server = servers.section(label)
            if server.boolean("enabled", True) and not server.boolean("disabled", False):
                found[label] = self._server(label, server)
        return found

    def _server(self, label: str, server: Section) -> McpServer:
        named = [key for key in _URL_KEYS if key in server.value]
        if len(named) > 1:
            server.fail(named[1], f"{named[0]} is given too; one address is enough")
        known, types = (_HTTP_KEYS, _HTTP_TYPES) if named else (_STDIO_KEYS, ("stdio",))
        for key in server.value:
            if key in _CHOICE_KEYS:
                server.fail(key, "is not known here; an agent's file chooses tools, under `allow`")
        server.only(known, ignored={*named, *_IGNORED_KEYS})
        kind_key = "type" if "type" in server.value else "transport"
        kind = server.value.get(kind_key, types[0])
        if kind not in types:
            server.fail(kind_key, f"{kind!r} is not supported; use stdio or streamable HTTP")
        startup_ms, answer_ms = _times(server)
        if named:
            return self._http(label, server, named[0], startup_ms, answer_ms)
        return self._stdio(label, server, startup_ms, answer_ms)

    def _http(
        self, label: str, server: Section, url_key: str, startup_ms: int | None, answer_ms: int | None
    ) -> HttpServer:
        server.require(url_key, "write the server's address")
        url = self._resolved(server, url_key, server.text(url_key, ""))
        try:
            read_url(url, ("https", "http"))
        except ValueError as error:
            server.fail(url_key, str(error))
        headers = self._texts(server, "headers")
        for name, value in headers.items():
            where = f"headers.{name}"
            if not _HEADER_NAME.fullmatch(name):
                server.fail(where, "is no name of an HTTP header")
            if "\r" in value or "\n" in value:
                server.fail(where, "must be one line")
            if not value.isascii() or not value.isprintable():
                server.fail(where, "must be of printable ASCII characters")
        return HttpServer(label, url, headers, startup_ms, answer_ms)

    def _stdio(self, label: str, server: Section, startup_ms: int | None, answer_ms: int | None) -> StdioServer:
        server.require("command", "write the program to start")
        command = self._resolved(server, "command", server.text("command", ""))
        if not command:
            server.fail("command", "must not be empty")
        args = [self._resolved(server, f"args[{at}]", arg) for at, arg in enumerate(server.texts("args"))]
        cwd = self._resolved(server, "cwd", server.text("cwd", "."))
        return StdioServer(
            label,
            sys.executable if command in _PYTHON else command,
            tuple(args),
            self._texts(server, "env"),
            self._folder.absolute() / Path(cwd).expanduser(),
            startup_ms,
            answer_ms,
        )

    def _texts(self, server: Section, key: str) -> dict[str, str]:
        texts = server.texts_by_name(key)
        return {name: self._resolved(server, f"{key}.{name}", text) for name, text in texts.items()}

    def _resolved(self, server: Section, key: str, text: str) -> str:
        """The text of a key with its variables replaced from the environment."""

        def value_of(match: re.Match[str]) -> str:
            found = self._environ.get(match[1], match[2])
            if found is None:
                server.fail(key, f"the environment variable {match[1]} is not set")
            return found

        return _VARIABLE.sub(value_of, text)


def _times(server: Section) -> tuple[int | None, int | None]:
    """How long a start and a call may take, in ms; None where the file does not say."""
    timeout = server.number("timeout", 0.001, 1e9, None, "seconds; above 3600, milliseconds")
    answer_ms = None if timeout is None else round(timeout * 1000 if timeout <= _MOST_SECONDS else timeout)
    startup_ms = None if answer_ms is None else max(min(answer_ms, MAX_STARTUP_S * 1000), _LEAST_STARTUP_MS)
    return server.milliseconds("startup_timeout_s", 0.001, MAX_STARTUP_S, startup_ms), answer_ms
