"""Reads one file of the agents' folder into an `Agent`; `docs/agents.md` describes every key.

Whatever a file says that we do not know, or do not do yet, is refused: a key that is passed over in silence would
only be missed during a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import NoReturn

from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.agent_yaml import YamlDocument, YamlFault, read_yaml
from gateway.realtime import owners
from sessions.agent import Agent, Limits, ModelChoice, ReplayPolicy, ToolGrant, ToolRule, TurnDetection
from sessions.ports import Json, JsonObject

AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MODEL_KINDS = ("local", "scripted", "openai", "azure")
MODEL_KINDS_TO_COME = ("voice-live", "gpt-live")
CLIENT_MAY_SET = (owners.EVERYTHING - {"model"}) | {"server_tools"}
PLACEHOLDERS = ("today", "caller.number")

_KEYS = (
    "name", "description", "model", "voice", "speed", "greeting", "instructions", "turn_detection", "tools", "offline",
    "client_may_set", "recording", "replay", "limits", "max_output_tokens", "transcription",
)  # fmt: skip
_KEYS_TO_COME = frozenset({"fallback", "handoff"})
_TOOL_KEYS_TO_COME = frozenset({"confirm", "filler"})
_ON = {"on": True, "yes": True, "off": False, "no": False}
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")
_DEFAULT_DEADLINE_MS = 10_000


class AgentProblem(ValueError):
    """Something that an agent's file asks for cannot be; `field` is its path, such as `tools[0].allow.find_table`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class AgentFileError(ValueError):
    """An agent's file cannot be used. Reads `FILE:LINE: FIELD: WHY`; `field` may be empty, `line` counts from 1."""

    def __init__(self, path: Path, line: int, field: str, message: str) -> None:
        super().__init__(f"{path}:{line}: {field}: {message}" if field else f"{path}:{line}: {message}")
        self.path = path
        self.line = line
        self.field = field
        self.message = message


class AgentFilesError(ValueError):
    """Several agents' files cannot be used: a line for each, as its own error reads."""

    def __init__(self, faults: Sequence[AgentFileError]) -> None:
        super().__init__("\n".join(map(str, faults)))


def all_of(*checks: Callable[[Agent], None]) -> Callable[[Agent], None]:
    """One check that makes these, one after the other."""

    def check(agent: Agent) -> None:
        for one in checks:
            one(agent)

    return check


def load_agent(path: Path, check: Callable[[Agent], None]) -> Agent:
    """Read and check one file. `check` may raise AgentProblem. Raises AgentFileError."""
    try:
        raw = read_whole(path, MAX_TEXT_BYTES)
    except OSError as error:
        raise AgentFileError(path, 1, "", f"cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise AgentFileError(path, line, "", "is not UTF-8 text") from error
    try:
        document = read_yaml(text)
    except YamlFault as fault:
        raise AgentFileError(path, fault.line, fault.field, fault.message) from fault
    return _checked(path, document, sha256(raw).hexdigest()[:12], check)


def _checked(path: Path, document: YamlDocument, version: str, check: Callable[[Agent], None]) -> Agent:
    try:
        agent = read_agent(document.value, path.stem, version)
        check(agent)
    except AgentProblem as problem:
        line = document.line_of(problem.field)
        raise AgentFileError(path, line, problem.field, problem.message) from problem
    return agent


def read_agent(value: Json, name: str, version: str) -> Agent:
    """An agent of the values in its file; `name` is the file's own, without `.yaml`. Raises AgentProblem."""
    if not AGENT_NAME.fullmatch(name):
        raise AgentProblem("name", f"the file's name {name!r} must be letters, digits, - and _, at most 64")
    if not isinstance(value, Mapping):
        raise AgentProblem("", "an agent's file holds keys and values, such as `model: local/offline`")
    agent = _Section(value, "")
    agent.only(_KEYS, _KEYS_TO_COME)
    given = agent.text("name", None)
    if given not in (None, name):
        raise AgentProblem("name", f"is {given!r}, but the file is called {name!r}; leave it out, or make them equal")
    instructions = agent.text("instructions", None) or ""
    check_instructions(instructions)
    return Agent(
        name=name,
        version=version,
        model=_model(agent),
        voice=agent.text("voice", None),
        greeting=agent.text("greeting", None),
        instructions=instructions,
        turn_detection=_turn_detection(agent),
        tools=_tools(agent),
        offline=agent.section("offline").value if agent.has("offline") else None,
        client_may_set=_client_may_set(agent),
        recording=agent.flag("recording", False),
        replay=_replay(agent),
        limits=_limits(agent),
        description=agent.text("description", None) or "",
        max_output_tokens=agent.whole("max_output_tokens", 1, 1_000_000) if agent.has("max_output_tokens") else None,
        speed=agent.number("speed", 0.25, 1.5, 1.0) if agent.has("speed") else None,
        transcription=_transcription(agent),
    )


# ---- instructions


def check_instructions(text: str) -> None:
    """Raises AgentProblem where the placeholders are not ours, or a brace stands alone."""
    fill_instructions(text, dict.fromkeys(PLACEHOLDERS, ""))


def fill_instructions(text: str, values: Mapping[str, str]) -> str:
    """Put `values` in the places of `{name}`; `{{` and `}}` are braces. Raises AgentProblem."""

    def filled(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] in values:
            return values[match[1]]
        known = " and ".join(f"{{{name}}}" for name in values)
        raise AgentProblem(
            "instructions", f"{match[0][:40]!r} is no placeholder; there are {known}; for a brace, write two"
        )

    return _TEMPLATE.sub(filled, text)


# ---- the parts of a file


def _model(agent: _Section) -> ModelChoice:
    kind, slash, name = (agent.text("model", None) or agent.fail("model", "is missing; write KIND/NAME")).partition("/")
    if kind in MODEL_KINDS_TO_COME:
        agent.fail("model", f"{kind} is not supported yet")
    if kind not in MODEL_KINDS:
        agent.fail("model", f"must begin with one of {', '.join(f'{known}/' for known in MODEL_KINDS)}")
    if not slash or not name.strip():
        agent.fail("model", f"must be KIND/NAME; {kind}/ lacks a name")
    return ModelChoice(kind, name)


def _turn_detection(agent: _Section) -> TurnDetection:
    if "turn_detection" not in agent.value:
        return TurnDetection()
    if agent.value["turn_detection"] in (None, "none"):
        return TurnDetection(kind="none")
    wish, base = agent.section("turn_detection", "is a mapping with a type, or none"), TurnDetection()
    kind = wish.choice("type", ("server_vad", "semantic_vad"), base.kind)
    if kind == "semantic_vad":
        for key in sorted(wish.value.keys() & {"silence_ms", "prefix_ms", "threshold"}):
            wish.fail(key, "is server_vad's; semantic_vad listens for the end of a sentence instead")
    wish.only(("type", "silence_ms", "prefix_ms", "threshold", "barge_in"))
    return TurnDetection(
        kind=kind,
        silence_ms=wish.whole("silence_ms", 100, 3000, base.silence_ms),
        prefix_ms=wish.whole("prefix_ms", 0, 3000, base.prefix_ms),
        threshold=wish.number("threshold", 0, 1, base.threshold),
        barge_in=wish.flag("barge_in", base.barge_in),
    )


def _tools(agent: _Section) -> tuple[ToolGrant, ...]:
    if not agent.has("tools"):
        return ()
    return tuple(_grant(_Section.of(entry, f"tools[{at}]")) for at, entry in enumerate(agent.items("tools")))


def _grant(entry: _Section) -> ToolGrant:
    if entry.has("mcp") == entry.has("function"):
        entry.fail("", "must be `mcp: SERVER` or `function: NAME`")
    if entry.has("function"):
        entry.only(("function", "deadline_s", "stop_on_barge_in"), _TOOL_KEYS_TO_COME)
        name = entry.text("function", None) or ""
        rule = _rule(None, name, entry, _DEFAULT_DEADLINE_MS)
        return ToolGrant(None, name, (rule,), rule.deadline_ms)
    entry.only(("mcp", "allow", "deadline_s"), _TOOL_KEYS_TO_COME)
    server = entry.text("mcp", None) or ""
    deadline_ms = entry.milliseconds("deadline_s", 0.1, 600, _DEFAULT_DEADLINE_MS)
    if not entry.has("allow"):
        return ToolGrant(server, None, None, deadline_ms)
    return ToolGrant(server, None, _allowed(entry, server, deadline_ms), deadline_ms)


def _allowed(entry: _Section, server: str, deadline_ms: int) -> tuple[ToolRule, ...]:
    allow = entry.value["allow"]
    if isinstance(allow, Mapping):
        # Only nothing stands for no rules: `book_table: false` was meant to keep the tool away, not to grant it.
        rules = {name: {} if rule is None else rule for name, rule in allow.items()}
        sections = {name: _Section.of(rule, f"{entry.path}.allow.{name}") for name, rule in rules.items()}
    else:
        names = entry.words("allow", "a list of tools, or a mapping of tools to their rules")
        sections = {name: _Section({}, f"{entry.path}.allow[{at}]") for at, name in enumerate(names)}
    for section in sections.values():
        section.only(("deadline_s", "stop_on_barge_in"), _TOOL_KEYS_TO_COME)
    return tuple(_rule(server, name, section, deadline_ms) for name, section in sections.items())


def _rule(server: str | None, name: str, section: _Section, deadline_ms: int) -> ToolRule:
    return ToolRule(
        server,
        name,
        section.milliseconds("deadline_s", 0.1, 600, deadline_ms),
        section.flag("stop_on_barge_in", False),
    )


def _client_may_set(agent: _Section) -> frozenset[str]:
    if not agent.has("client_may_set"):
        return frozenset()
    names = agent.words("client_may_set", "a list of fields")
    for at, name in enumerate(names):
        if name == "model":
            agent.fail(f"client_may_set[{at}]", "model is not supported yet")
        if name not in CLIENT_MAY_SET:
            agent.fail(f"client_may_set[{at}]", f"{name!r} is none of {', '.join(sorted(CLIENT_MAY_SET))}")
    return frozenset(names)


def _replay(agent: _Section) -> ReplayPolicy:
    if agent.value.get("replay") is False:
        return ReplayPolicy.OFF
    return ReplayPolicy(agent.choice("replay", [policy.value for policy in ReplayPolicy], ReplayPolicy.OFF.value))


def _limits(agent: _Section) -> Limits:
    base = Limits()
    if not agent.has("limits"):
        return base
    limits = agent.section("limits")
    limits.only(("minutes", "idle_s"))
    return Limits(
        length_ms=round(limits.number("minutes", 0.1, 1440, base.length_ms / 60_000) * 60_000),
        idle_ms=limits.milliseconds("idle_s", 1, 86_400, 0) if limits.has("idle_s") else None,
    )


def _transcription(agent: _Section) -> JsonObject | None:
    if not agent.has("transcription"):
        return None
    wish = agent.section("transcription")
    if wish.text("model", None) is None:
        wish.fail("model", "is missing; write the name of a transcription model")
    for key in ("language", "prompt"):
        wish.text(key, None)
    return wish.value


class _Section:
    """One mapping of a file and its path; each reader raises AgentProblem naming the field."""

    def __init__(self, value: JsonObject, path: str) -> None:
        self.value = value
        self.path = path

    @classmethod
    def of(cls, value: Json, path: str, wanted: str = "must be a mapping of keys to values") -> _Section:
        """The mapping at `path`."""
        if not isinstance(value, Mapping):
            raise AgentProblem(path, wanted)
        return cls(value, path)

    def fail(self, key: str, message: str) -> NoReturn:
        """Refuse a field; the section itself where `key` is empty."""
        raise AgentProblem(f"{self.path}.{key}" if self.path and key else self.path or key, message)

    def only(self, keys: Iterable[str], to_come: frozenset[str] = frozenset()) -> None:
        """Refuse every key but these."""
        for key in self.value:
            if key in to_come:
                self.fail(key, "is not supported yet")
            if key not in keys:
                self.fail(key, f"is not known here; there are {', '.join(keys)}")

    def has(self, key: str) -> bool:
        """Whether a field is there and not null."""
        return self.value.get(key) is not None

    def section(self, key: str, wanted: str = "must be a mapping of keys to values") -> _Section:
        """The mapping under a key."""
        return _Section.of(self.value.get(key), f"{self.path}.{key}" if self.path else key, wanted)

    def items(self, key: str) -> list[Json]:
        """The list under a key."""
        value = self.value.get(key)
        return value if isinstance(value, list) else self.fail(key, "must be a list")

    def words(self, key: str, wanted: str) -> list[str]:
        """A list of different words."""
        value = self.value.get(key)
        if not isinstance(value, list):
            self.fail(key, f"must be {wanted}")
        words: list[str] = []
        for at, word in enumerate(value):
            if not isinstance(word, str) or not word.strip():
                self.fail(f"{key}[{at}]", "must be a word")
            if word in words:
                self.fail(f"{key}[{at}]", f"{word!r} stands in the list twice")
            words.append(word)
        return words

    def text(self, key: str, default: str | None) -> str | None:
        """A text that is not empty; `default` where there is none."""
        value = self.value.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(key, "must be text; put it in quotes")
        return value if value.strip() else self.fail(key, "is empty; write something, or leave it out")

    def choice(self, key: str, allowed: Iterable[str], default: str) -> str:
        """One of a few words."""
        value = self.value.get(key, default)
        if not isinstance(value, str) or value not in allowed:
            self.fail(key, f"must be one of {', '.join(allowed)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """on or off, true or false."""
        value = self.value.get(key, default)
        if isinstance(value, str) and value.lower() in _ON:
            return _ON[value.lower()]
        return value if isinstance(value, bool) else self.fail(key, "must be on or off")

    def number(self, key: str, least: float, most: float, default: float) -> float:
        """A number within bounds."""
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            self.fail(key, f"must be a number from {least:g} to {most:g}")
        return value if least <= value <= most else self.fail(key, f"must be from {least:g} to {most:g}, not {value:g}")

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"must be a whole number from {least} to {most}")
        return value if least <= value <= most else self.fail(key, f"must be from {least} to {most}, not {value}")

    def milliseconds(self, key: str, least_s: float, most_s: float, default_ms: int) -> int:
        """A field in seconds, as milliseconds."""
        return round(self.number(key, least_s, most_s, default_ms / 1000) * 1000)
