"""Reads one file of the agents' folder into an `Agent`; `docs/agents.md` describes every key.

A key that is unknown, or reserved for a later version, is refused. If it were ignored, the mistake would show only
during a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from gateway.config.money import usd
from gateway.config.section import FieldProblem, Section, plain
from gateway.config.value_file import FileProblem, decoded, read_file, yaml_file
from gateway.realtime import owners
from sessions.agent import (
    BUDGET_GOODBYE,
    Agent,
    AgentLimits,
    KeyMode,
    ModelChoice,
    PhoneRules,
    ReplayPolicy,
    TelemetryContent,
    ToolGrant,
    ToolRule,
    TurnDetection,
)
from sessions.keys import COLLECT_KEYS, NO_TERMINATOR
from sessions.money import NANO_PER_USD
from sessions.ports import Json, JsonObject

AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MODEL_KINDS = ("local", "scripted", "openai", "azure")
MODEL_KINDS_TO_COME = ("voice-live", "gpt-live")
CLIENT_MAY_SET = (owners.EVERYTHING - {"model"}) | {"server_tools"}
PLACEHOLDERS = ("today", "caller.number", "caller.called", "caller.direction", "caller.language")

_KEYS = (
    "name", "description", "model", "voice", "speed", "greeting", "instructions", "turn_detection", "tools", "offline",
    "client_may_set", "recording", "replay", "limits", "max_output_tokens", "transcription", "phone",
    "telemetry",
    "budget_goodbye",
)  # fmt: skip
_KEYS_TO_COME = ("fallback", "handoff")
_TOOL_KEYS_TO_COME = ("confirm", "filler")
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")
MAX_GOODBYE_CHARS = 1_000  # more than a minute of speech; the goodbye has some seconds
_DEFAULT_DEADLINE_MS = 10_000
_COLLECT_DEADLINE_MS = 120_000  # a caller has to find the card first, and types its number slowly


class AgentProblem(FieldProblem):
    """An agent's file asks for something impossible; `field` is its path, such as `tools[0].allow.find_table`."""


class AgentFileError(FileProblem):
    """An agent's file cannot be used. Reads `FILE:LINE: FIELD: WHY`."""


class AgentFilesError(ValueError):
    """Several agents' files cannot be used; the message has a line for each."""

    def __init__(self, faults: Sequence[AgentFileError]) -> None:
        super().__init__("\n".join(map(str, faults)))


def all_of(*checks: Callable[[Agent], None]) -> Callable[[Agent], None]:
    """One check that makes all of these, in order."""

    def check(agent: Agent) -> None:
        for one in checks:
            one(agent)

    return check


def load_agent(path: Path, check: Callable[[Agent], None]) -> Agent:
    """Read and check one file. `check` may raise AgentProblem. Raises AgentFileError."""
    raw = read_file(path, AgentFileError)
    file = yaml_file(decoded(raw, path, AgentFileError), path, AgentFileError)
    with file.checking():
        agent = read_agent(file.value, path.stem, sha256(raw).hexdigest()[:12])
        check(agent)
    return agent


def read_agent(value: Json, name: str, version: str) -> Agent:
    """Make an agent of the values in its file; `name` is the file's name without `.yaml`. Raises AgentProblem."""
    if not AGENT_NAME.fullmatch(name):
        raise AgentProblem("name", f"the file's name {name!r} must be letters, digits, - and _, at most 64")
    agent = Section.of(value, "", AgentProblem, "an agent's file holds keys and values, such as `model: local/offline`")
    agent.only(_KEYS, _KEYS_TO_COME)
    given = agent.filled_text("name", name)
    if given != name:
        agent.fail("name", f"is {given!r}, but the file is called {name!r}; leave it out, or make them equal")
    instructions = agent.filled_text("instructions", "")
    check_template(instructions, "instructions")
    greeting = agent.filled_text("greeting", None)
    check_template(greeting or "", "greeting")
    phone, tools = _phone(agent), tuple(_grant(entry) for entry in agent.sections("tools"))
    _check_keys(agent, phone, tools)
    return Agent(
        name=name,
        version=version,
        model=_model(agent),
        voice=agent.filled_text("voice", None),
        greeting=greeting,
        instructions=instructions,
        turn_detection=_turn_detection(agent),
        tools=tools,
        offline=agent.section("offline").value if agent.has("offline") else None,
        client_may_set=_client_may_set(agent),
        recording=agent.flag("recording", False),
        replay=_replay(agent),
        limits=_limits(agent),
        description=agent.filled_text("description", ""),
        max_output_tokens=agent.whole("max_output_tokens", 1, 1_000_000, None),
        speed=agent.number("speed", 0.25, 1.5, None),
        phone=phone,
        transcription=_transcription(agent),
        telemetry=_telemetry(agent),
        budget_goodbye=_budget_goodbye(agent),
    )


# ---- instructions and greeting


def check_template(text: str, field: str) -> None:
    """Raises AgentProblem for an unknown placeholder, and for a single brace."""
    fill_template(text, field, dict.fromkeys(PLACEHOLDERS, ""))


def fill_template(text: str, field: str, values: Mapping[str, str]) -> str:
    """Replace each `{name}` by its value; `{{` and `}}` become braces. Raises AgentProblem about this field."""

    def filled(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] in values:
            return values[match[1]]
        known = ", ".join(f"{{{name}}}" for name in values)
        message = f"{match[0][:40]!r} is no placeholder; there are {known}; for a brace, write two"
        raise AgentProblem(field, message)

    return _TEMPLATE.sub(filled, text)


# ---- the parts of a file


def _model(agent: Section) -> ModelChoice:
    agent.require("model", "write KIND/NAME")
    kind, slash, name = agent.filled_text("model", "").partition("/")
    if kind in MODEL_KINDS_TO_COME:
        agent.fail("model", f"{kind} is not supported yet")
    if kind not in MODEL_KINDS:
        agent.fail("model", f"must begin with one of {', '.join(f'{known}/' for known in MODEL_KINDS)}")
    if not slash or not name.strip():
        agent.fail("model", f"must be KIND/NAME; {kind}/ lacks a name")
    return ModelChoice(kind, name)


def _turn_detection(agent: Section) -> TurnDetection:
    if "turn_detection" not in agent.value:
        return TurnDetection()
    if agent.value["turn_detection"] in (None, "none"):
        return TurnDetection(kind="none")
    detection, base = agent.section("turn_detection", "is a mapping with a type, or none"), TurnDetection()
    kind = detection.choice("type", ("server_vad", "semantic_vad"), base.kind)
    if kind == "semantic_vad":
        for key in sorted(detection.value.keys() & {"silence_ms", "prefix_ms", "threshold"}):
            detection.fail(key, "belongs to server_vad; semantic_vad listens for the end of a sentence instead")
    detection.only(("type", "silence_ms", "prefix_ms", "threshold", "barge_in"))
    return TurnDetection(
        kind=kind,
        silence_ms=detection.whole("silence_ms", 100, 3000, base.silence_ms),
        prefix_ms=detection.whole("prefix_ms", 0, 3000, base.prefix_ms),
        threshold=detection.number("threshold", 0, 1, base.threshold),
        barge_in=detection.flag("barge_in", base.barge_in),
    )


def _grant(entry: Section) -> ToolGrant:
    if entry.has("mcp") == entry.has("function"):
        entry.fail("", "must be `mcp: SERVER` or `function: NAME`")
    if entry.has("function"):
        entry.only(("function", "deadline_s", "stop_on_barge_in"), _TOOL_KEYS_TO_COME)
        name = entry.filled_text("function", "")
        rule = _rule(None, name, entry, _COLLECT_DEADLINE_MS if name == COLLECT_KEYS else _DEFAULT_DEADLINE_MS)
        return ToolGrant(None, name, (rule,), rule.deadline_ms)
    entry.only(("mcp", "allow", "deadline_s"), _TOOL_KEYS_TO_COME)
    server, deadline_ms = entry.filled_text("mcp", ""), _deadline_ms(entry, _DEFAULT_DEADLINE_MS)
    if not entry.has("allow"):
        return ToolGrant(server, None, None, deadline_ms)
    return ToolGrant(server, None, _allowed(entry, server, deadline_ms), deadline_ms)


def _allowed(entry: Section, server: str, deadline_ms: int) -> tuple[ToolRule, ...]:
    if not isinstance(entry.value["allow"], Mapping):
        names = entry.names("allow", "must be a list of tools, or a mapping of tools to their rules")
        return tuple(ToolRule(server, name, deadline_ms) for name in names)
    allow, rules = entry.section("allow"), []
    for name in allow.value:
        # Only a missing value stands for no rules: `book_table: false` means to keep the tool away, not to grant it.
        section = allow.section_or_empty(name)
        section.only(("deadline_s", "stop_on_barge_in"), _TOOL_KEYS_TO_COME)
        rules.append(_rule(server, name, section, deadline_ms))
    return tuple(rules)


def _rule(server: str | None, name: str, section: Section, deadline_ms: int) -> ToolRule:
    return ToolRule(server, name, _deadline_ms(section, deadline_ms), section.flag("stop_on_barge_in", False))


def _deadline_ms(section: Section, default_ms: int) -> int:
    return section.milliseconds("deadline_s", 0.1, 600, default_ms)


def _client_may_set(agent: Section) -> frozenset[str]:
    names = agent.names("client_may_set", "must be a list of fields")
    for at, name in enumerate(names):
        if name == "model":
            agent.fail(f"client_may_set[{at}]", "model is not supported yet")
        if name not in CLIENT_MAY_SET:
            agent.fail(f"client_may_set[{at}]", f"{name!r} is none of {', '.join(sorted(CLIENT_MAY_SET))}")
    return frozenset(names)


def _replay(agent: Section) -> ReplayPolicy:
    if agent.value.get("replay") is False:
        return ReplayPolicy.OFF
    return ReplayPolicy(agent.choice("replay", [policy.value for policy in ReplayPolicy], ReplayPolicy.OFF.value))


def _telemetry(agent: Section) -> TelemetryContent | None:
    if not agent.has("telemetry"):
        return None
    levels = [level.value for level in TelemetryContent]
    return TelemetryContent(agent.choice("telemetry", levels, TelemetryContent.NONE.value))


def _limits(agent: Section) -> AgentLimits:
    base = AgentLimits()
    if not agent.has("limits"):
        return base
    limits = agent.section("limits")
    limits.only(("minutes", "idle_s", "cost_usd"))
    return AgentLimits(
        length_ms=limits.milliseconds("minutes", 0.1, 1440, base.length_ms, unit_ms=60_000),
        idle_ms=limits.milliseconds("idle_s", 1, 86_400, None),
        cost_nano=usd(limits, "cost_usd", None, least_nano=NANO_PER_USD // 1000, most_nano=10_000 * NANO_PER_USD),
    )


def _budget_goodbye(agent: Section) -> str:
    text = agent.filled_text("budget_goodbye", BUDGET_GOODBYE)
    if len(text) > MAX_GOODBYE_CHARS:
        agent.fail("budget_goodbye", f"has {len(text)} characters; at most {MAX_GOODBYE_CHARS} are allowed")
    return text


def _phone(agent: Section) -> PhoneRules:
    base = PhoneRules()
    if not agent.has("phone"):
        return base
    phone = agent.section("phone")
    phone.only(("keys", "terminator", "rest_ms", "barge_in"))
    off = phone.value.get("keys") is False  # `false` is a boolean in YAML, and `off` a text
    keys = KeyMode.OFF if off else KeyMode(phone.choice("keys", [mode.value for mode in KeyMode], base.keys.value))
    terminator = phone.choice("terminator", ("#", "*", NO_TERMINATOR), base.terminator or NO_TERMINATOR)
    return PhoneRules(
        keys=keys,
        terminator=None if terminator == NO_TERMINATOR else terminator,
        rest_ms=phone.whole("rest_ms", 200, 10_000, base.rest_ms),
        barge_in=phone.flag("barge_in", base.barge_in),
    )


def _check_keys(agent: Section, phone: PhoneRules, tools: Sequence[ToolGrant]) -> None:
    for at, grant in enumerate(tools):
        if grant.function == COLLECT_KEYS and phone.keys is KeyMode.OFF:
            agent.fail(f"tools[{at}].function", f"{COLLECT_KEYS} needs keys, and phone.keys is off")


def _transcription(agent: Section) -> JsonObject | None:
    if not agent.has("transcription"):
        return None
    transcription = agent.section("transcription")
    transcription.require("model", "write the name of a transcription model")
    texts = {
        key: transcription.filled_text(key, "") for key in ("model", "language", "prompt") if transcription.has(key)
    }
    return {**{key: plain(value) for key, value in transcription.value.items()}, **texts}
