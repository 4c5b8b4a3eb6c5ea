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

from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.agent_yaml import YamlFault, read_yaml
from gateway.urls import read_url
from sessions.ports import Json

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TIME_KEYS = frozenset({"startup_timeout_s", "timeout"})
_STDIO_KEYS = frozenset({"command", "args", "env", "cwd"}) | _TIME_KEYS
_HTTP_KEYS = frozenset({"url", "headers"}) | _TIME_KEYS
# What some clients call `url`.
_URL_KEYS = ("url", "httpUrl", "serverUrl")
# Read elsewhere, or written by other clients for their own screens and without meaning here.
_IGNORED_KEYS = frozenset(
    {"type", "transport", "disabled", "enabled", "description", "autoApprove", "alwaysAllow", "trust", "version"}
    | {"name", "title", "icon", "gallery", "autoStart"}
)
# Other clients choose tools there, by the server; here each agent does. To pass over such a choice would grant more.
_CHOICE_KEYS = frozenset(
    {"tools", "includeTools", "excludeTools", "enabledTools", "disabledTools", "allowedTools"}
    | {"enabled_tools", "disabled_tools", "allowed_tools", "tool_configuration"}
)
MAX_STARTUP_S = 600
# `timeout` has no unit that all clients share: milliseconds in most, and seconds, up to an hour, in some. Nobody waits
# for less than four seconds on purpose, so what can be seconds is.
_MOST_SECONDS = 3600
_LEAST_STARTUP_MS = 60_000  # `timeout` is about calls; it may lengthen a start, and not shorten it
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
    startup_ms: int | None = None  # how long a start may take; None: as the pool says
    answer_ms: int | None = None  # how long a call may take at most; None: as its agent says


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server at an address, over streamable HTTP."""

    label: str
    url: str = field(repr=False)  # may hold secrets
    headers: Mapping[str, str] = field(repr=False)
    startup_ms: int | None = None
    answer_ms: int | None = None


@dataclass(frozen=True, slots=True)
class InProcessServer:
    """An MCP server object in this process: for tests and replays, without sockets or threads."""

    label: str
    server: object


McpServer: TypeAlias = StdioServer | HttpServer | InProcessServer


def load_mcp_config(path: Path, environ: Mapping[str, str]) -> dict[str, McpServer]:
    """Every enabled server of the file by its label; none where there is no file. Raises McpConfigError."""
    try:
        raw = read_whole(path, MAX_TEXT_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise McpConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        document = json.loads(raw)
    except json.JSONDecodeError as error:
        raise McpConfigError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise McpConfigError(f"{path}: is not JSON in UTF-8") from error
    except RecursionError as error:
        raise McpConfigError(f"{path}:{_fault_line(raw)}: is nested too deeply") from error
    except ValueError as error:  # Python reads no whole number of more than 4,300 digits
        raise McpConfigError(f"{path}: holds a number of too many digits") from error
    return _Reader(path, raw.decode("utf-8", "replace"), environ).servers(document)


def _fault_line(raw: bytes) -> int:
    """Where what nests too deeply does so: JSON is YAML, nearly, and its reader knows lines."""
    try:
        read_yaml(raw.decode("utf-8", "replace"))
    except YamlFault as fault:
        return fault.line
    return 1


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
            if self._flag(fields, "enabled", where, True) and not self._flag(fields, "disabled", where, False):
                found[label] = self._server(label, fields, where)
        return found

    def _server(self, label: str, fields: Mapping[str, Json], where: str) -> McpServer:
        named = [key for key in _URL_KEYS if key in fields]
        if len(named) > 1:
            raise self._wrong(f"{where}.{named[1]}", f"{named[0]} is given too; one address is enough")
        if named:
            fields = {"url" if key == named[0] else key: value for key, value in fields.items()}
        known = _HTTP_KEYS if named else _STDIO_KEYS
        for key in fields:
            if key in _CHOICE_KEYS:
                raise self._wrong(f"{where}.{key}", "is not known here; an agent's file chooses tools, under `allow`")
            if key not in known | _IGNORED_KEYS:
                raise self._wrong(f"{where}.{key}", f"is not known here; known are {', '.join(sorted(known))}")
        kind = fields.get("type", fields.get("transport", "http" if named else "stdio"))
        if kind not in (("http", "streamable-http", "streamableHttp", "streamable_http") if named else ("stdio",)):
            raise self._wrong(f"{where}.type", f"{kind!r} is not supported; use stdio or streamable HTTP")
        startup_ms, answer_ms = self._times(fields, where)
        if named:
            return self._http(label, fields, f"{where}.{named[0]}", where, startup_ms, answer_ms)
        return self._stdio(label, fields, where, startup_ms, answer_ms)

    def _times(self, fields: Mapping[str, Json], where: str) -> tuple[int | None, int | None]:
        """How long a start and a call may take, in ms; None where the file does not say."""
        answer_ms = None
        if "timeout" in fields:
            timeout = self._number(fields["timeout"], f"{where}.timeout", "seconds, or milliseconds above 3600")
            answer_ms = round(timeout * 1000 if timeout <= _MOST_SECONDS else timeout)
        if "startup_timeout_s" not in fields:
            return (
                None if answer_ms is None else max(min(answer_ms, MAX_STARTUP_S * 1000), _LEAST_STARTUP_MS)
            ), answer_ms
        name = f"{where}.startup_timeout_s"
        startup_s = self._number(fields["startup_timeout_s"], name, f"seconds, at most {MAX_STARTUP_S}")
        if startup_s > MAX_STARTUP_S:
            raise self._wrong(name, f"must be a number of seconds, at most {MAX_STARTUP_S}")
        return round(startup_s * 1000), answer_ms

    def _http(
        self,
        label: str,
        fields: Mapping[str, Json],
        url_field: str,
        where: str,
        startup_ms: int | None,
        answer_ms: int | None,
    ) -> HttpServer:
        url = self._text(fields["url"], url_field)
        try:
            read_url(url, ("https", "http"))
        except ValueError as error:
            raise self._wrong(url_field, str(error)) from error
        headers = self._texts(fields.get("headers", {}), f"{where}.headers")
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise self._wrong(f"{where}.headers.{name}", "is no name of an HTTP header")
            if "\r" in value or "\n" in value:
                raise self._wrong(f"{where}.headers.{name}", "must be one line")
            if not value.isascii() or not value.isprintable():
                raise self._wrong(f"{where}.headers.{name}", "must be of printable ASCII characters")
        return HttpServer(label, url, headers, startup_ms, answer_ms)

    def _stdio(
        self, label: str, fields: Mapping[str, Json], where: str, startup_ms: int | None, answer_ms: int | None
    ) -> StdioServer:
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
            startup_ms,
            answer_ms,
        )

    def _flag(self, fields: Mapping[str, Json], key: str, where: str, default: bool) -> bool:
        flag = fields.get(key, default)
        if not isinstance(flag, bool):
            raise self._wrong(f"{where}.{key}", "must be true or false")
        return flag

    def _number(self, value: Json, where: str, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise self._wrong(where, f"must be a number of {what}")
        return value

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
