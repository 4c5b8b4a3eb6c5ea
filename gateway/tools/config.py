"""Reads `mcp.json`, in the shape that MCP clients share: `mcpServers`, each with a command or a url.

`${NAME}` and `${NAME:-default}` in any value are taken from the environment when the file is read. The command
`python` means the interpreter that runs Patchbay, so that a server finds the same packages. A relative `cwd`, and no
`cwd`, count from the file's folder.
Source: modelcontextprotocol.io/docs/develop/connect-local-servers, and the clients that followed it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gateway.agent_yaml import YamlFault, read_yaml
from gateway.urls import read_url
from sessions.ports import Json

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MAX_FILE_BYTES = 1 << 20
_STDIO_KEYS = frozenset({"command", "args", "env", "cwd"})
_HTTP_KEYS = frozenset({"url", "headers"})
# Written by other clients for their own screens; without meaning here.
_IGNORED_KEYS = frozenset({"type", "transport", "disabled", "description", "autoApprove", "alwaysAllow"})
_PYTHON = frozenset({"python", "python3"})


class McpConfigError(ValueError):
    """The file cannot be used; the message names the file, the line and the field."""


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that Patchbay starts and talks to over its standard streams."""

    label: str
    command: str
    args: tuple[str, ...] = field(repr=False)  # may hold secrets
    env: Mapping[str, str] = field(repr=False)
    cwd: Path


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server at an address, over streamable HTTP."""

    label: str
    url: str = field(repr=False)  # may hold secrets
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InProcessServer:
    """An MCP server object in this process: for tests and replays, without sockets or threads."""

    label: str
    server: object


McpServer: TypeAlias = StdioServer | HttpServer | InProcessServer


def load_mcp_config(path: Path, environ: Mapping[str, str]) -> dict[str, McpServer]:
    """Every enabled server of the file by its label; none where there is no file. Raises McpConfigError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise McpConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise McpConfigError(f"{path}: is larger than {_MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(raw)
    except json.JSONDecodeError as error:
        raise McpConfigError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise McpConfigError(f"{path}: is not JSON in UTF-8") from error
    return _Reader(path, raw.decode("utf-8", "replace"), environ).servers(document)


class _Reader:
    """Turns the parsed file into servers; each error names the path of its field."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self._path = path
        self._text_read = text
        self._environ = environ

    def servers(self, document: Json) -> dict[str, McpServer]:
        entries = self._object(self._object(document, "the file").get("mcpServers"), "mcpServers")
        found: dict[str, McpServer] = {}
        for label, entry in entries.items():
            where = f"mcpServers.{label}"
            if not _LABEL.fullmatch(label) or "__" in label:
                raise self._wrong(where, "a server's name has 1 to 32 letters, digits, - and _, and no double _")
            fields = self._object(entry, where)
            if fields.get("disabled") is not True:
                found[label] = self._server(label, fields, where)
        return found

    def _server(self, label: str, fields: Mapping[str, Json], where: str) -> McpServer:
        known = _HTTP_KEYS if "url" in fields else _STDIO_KEYS
        for key in fields:
            if key not in known | _IGNORED_KEYS:
                raise self._wrong(f"{where}.{key}", f"is not known here; known are {', '.join(sorted(known))}")
        kind = fields.get("type", fields.get("transport", "http" if "url" in fields else "stdio"))
        if kind not in (("http", "streamable-http", "streamableHttp") if "url" in fields else ("stdio",)):
            raise self._wrong(f"{where}.type", f"{kind!r} is not supported; use stdio or streamable HTTP")
        if "url" in fields:
            return self._http(label, fields, where)
        return self._stdio(label, fields, where)

    def _http(self, label: str, fields: Mapping[str, Json], where: str) -> HttpServer:
        url = self._text(fields["url"], f"{where}.url")
        try:
            read_url(url, ("https", "http"))
        except ValueError as error:
            raise self._wrong(f"{where}.url", str(error)) from error
        headers = self._texts(fields.get("headers", {}), f"{where}.headers")
        for name, value in headers.items():
            if "\r" in value or "\n" in value:
                raise self._wrong(f"{where}.headers.{name}", "must be one line")
        return HttpServer(label, url, headers)

    def _stdio(self, label: str, fields: Mapping[str, Json], where: str) -> StdioServer:
        command = self._text(fields.get("command"), f"{where}.command")
        if not command:
            raise self._wrong(f"{where}.command", "must not be empty")
        args = fields.get("args", [])
        if not isinstance(args, list):
            raise self._wrong(f"{where}.args", "must be a list of texts")
        cwd = self._text(fields.get("cwd", "."), f"{where}.cwd")
        return StdioServer(
            label,
            sys.executable if command in _PYTHON else command,
            tuple(self._text(arg, f"{where}.args[{index}]") for index, arg in enumerate(args)),
            self._texts(fields.get("env", {}), f"{where}.env"),
            self._path.parent.absolute() / Path(cwd).expanduser(),
        )

    def _texts(self, value: Json, where: str) -> dict[str, str]:
        return {key: self._text(text, f"{where}.{key}") for key, text in self._object(value, where).items()}

    def _object(self, value: Json, where: str) -> Mapping[str, Json]:
        if not isinstance(value, dict):
            raise self._wrong(where, "must be a JSON object")
        return value

    def _text(self, value: Json, where: str) -> str:
        if not isinstance(value, str):
            raise self._wrong(where, "must be a text")

        def resolved(match: re.Match[str]) -> str:
            found = self._environ.get(match[1], match[2])
            if found is None:
                raise self._wrong(where, f"the environment variable {match[1]} is not set")
            return found

        return _VARIABLE.sub(resolved, value)

    def _wrong(self, where: str, why: str) -> McpConfigError:
        try:
            # JSON is YAML, nearly: its reader knows lines. What it will not read is told without one.
            place = f"{self._path}:{read_yaml(self._text_read).line_of(where)}"
        except YamlFault:
            place = str(self._path)
        return McpConfigError(f"{place}: {where}: {why}")
