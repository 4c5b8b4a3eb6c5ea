from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.agents.files import AgentFileError, AgentProblem, load_agent
from gateway.config.yaml_lines import YamlFault, read_yaml
from sessions.agent import (
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

SMALL = "model: openai/gpt-realtime\n"
FULL = """\
name: harbour
description: Books tables.
model: azure/my/deployment
voice: marin
speed: 1.25
greeting: Hello.
instructions: |
  Today is {today}. Answer as {{"a": {{"b": 1}}}}.
turn_detection: {type: server_vad, silence_ms: 700, prefix_ms: 200, threshold: 0.6, barge_in: off}
tools:
  - mcp: bookings
    deadline_s: 20
    allow:
      find_table: {deadline_s: 8, stop_on_barge_in: true}
      book_table:
  - mcp: crm
    allow: [find_customer]
  - mcp: house
  - function: hang_up
    deadline_s: 0.5
offline: {rules: [{name: hello, phrases: [hello, yes, 11:30], say: 007}]}
client_may_set: [instructions, tools, server_tools]
recording: on
replay: text
limits: {minutes: 0.5, idle_s: 60, cost_usd: 0.1}
budget_goodbye: Goodbye {for} now.
phone: {keys: secret, terminator: "*", rest_ms: 1500, barge_in: off}
max_output_tokens: 900
transcription: {model: whisper-1, language: en}
"""


def accept(agent: Agent) -> None:
    """A check that finds nothing."""


def load(folder: Path, text: str, check: Callable[[Agent], None] = accept) -> Agent:
    path = folder / "harbour.yaml"
    path.write_text(text)
    return load_agent(path, check)


def refused(folder: Path, text: str, check: Callable[[Agent], None] = accept) -> AgentFileError:
    with pytest.raises(AgentFileError) as caught:
        load(folder, text, check)
    return caught.value


def test_a_small_file_gets_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL) == Agent(
        name="harbour",
        version=sha256(SMALL.encode()).hexdigest()[:12],
        model=ModelChoice("openai", "gpt-realtime"),
        voice=None,
        greeting=None,
        instructions="",
        turn_detection=TurnDetection(),
        tools=(),
        offline=None,
        client_may_set=frozenset(),
        recording=False,
        replay=ReplayPolicy.OFF,
        limits=AgentLimits(),
    )


def test_every_key_reaches_the_agent(tmp_path: Path) -> None:
    agent = load(tmp_path, FULL)
    assert agent.model == ModelChoice("azure", "my/deployment")
    assert (agent.description, agent.voice, agent.speed, agent.greeting) == ("Books tables.", "marin", 1.25, "Hello.")
    assert agent.turn_detection == TurnDetection("server_vad", 700, 200, 0.6, False)
    assert agent.tools == (
        ToolGrant(
            "bookings",
            None,
            (ToolRule("bookings", "find_table", 8000, True), ToolRule("bookings", "book_table", 20_000, False)),
            20_000,
        ),
        ToolGrant("crm", None, (ToolRule("crm", "find_customer", 10_000),), 10_000),
        ToolGrant("house", None, None, 10_000),
        ToolGrant(None, "hang_up", (ToolRule(None, "hang_up", 500),), 500),
    )
    assert agent.offline == {"rules": [{"name": "hello", "phrases": ["hello", "yes", "11:30"], "say": "007"}]}
    assert agent.client_may_set == {"instructions", "tools", "server_tools"}
    assert agent.recording
    assert agent.replay is ReplayPolicy.TEXT
    assert agent.limits == AgentLimits(length_ms=30_000, idle_ms=60_000, cost_nano=100_000_000)
    assert agent.budget_goodbye == "Goodbye {for} now."
    assert agent.phone == PhoneRules(KeyMode.SECRET, "*", 1_500, False)
    assert agent.max_output_tokens == 900
    assert agent.transcription == {"model": "whisper-1", "language": "en"}


def test_the_demo_agent_is_read() -> None:
    agent = load_agent(Path(__file__).parents[3] / "agents/front-desk.yaml", accept)
    assert str(agent.model) == "local/offline"
    assert agent.recording


@pytest.mark.parametrize(
    ("text", "recording"), [("on", True), ("true", True), ("yes", True), ("'on'", True), ("off", False), ("No", False)]
)
def test_switches_take_words_and_booleans(tmp_path: Path, text: str, recording: bool) -> None:
    assert load(tmp_path, f"{SMALL}recording: {text}\n").recording is recording


def test_telemetry_is_as_the_settings_say_or_lower(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).telemetry is None
    for level in TelemetryContent:
        assert load(tmp_path, f"{SMALL}telemetry: {level.value}\n").telemetry is level


@pytest.mark.parametrize(
    ("text", "policy"), [("off", "off"), ("false", "off"), ("'off'", "off"), ("text", "text"), ("full", "full")]
)
def test_replay_takes_words_and_false(tmp_path: Path, text: str, policy: str) -> None:
    assert load(tmp_path, f"{SMALL}replay: {text}\n").replay == policy


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("", PhoneRules()),
        ("{keys: off}", PhoneRules(KeyMode.OFF)),
        ("{keys: false}", PhoneRules(KeyMode.OFF)),
        ("{keys: text, terminator: none}", PhoneRules(KeyMode.TEXT, None)),
    ],
)
def test_keys_have_defaults_and_can_be_switched_off(tmp_path: Path, text: str, phone: PhoneRules) -> None:
    assert load(tmp_path, f"{SMALL}phone: {text}\n").phone == phone


def test_a_tool_that_waits_for_keys_needs_some_and_has_time(tmp_path: Path) -> None:
    tools = f"{SMALL}tools:\n  - function: collect_digits\n"
    assert load(tmp_path, tools).tools[0].deadline_ms == 120_000
    assert load(tmp_path, f"{tools}    deadline_s: 30\n").tools[0].deadline_ms == 30_000
    error = refused(tmp_path, f"{tools}phone: {{keys: off}}\n")
    assert (error.line, error.field) == (3, "tools[0].function")
    assert "phone.keys is off" in error.message


@pytest.mark.parametrize("text", ["none", "null", ""])
def test_turns_may_be_taken_by_hand(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"{SMALL}turn_detection: {text}\n").turn_detection.kind == "none"


def test_semantic_turns_keep_barge_in(tmp_path: Path) -> None:
    detection = load(tmp_path, f"{SMALL}turn_detection: {{type: semantic_vad, barge_in: no}}\n").turn_detection
    assert (detection.kind, detection.barge_in) == ("semantic_vad", False)


@pytest.mark.parametrize(
    ("more", "field", "why"),
    [
        ("colour: red", "colour", "is not known here"),
        ("fallback: [openai/x]", "fallback", "is not supported yet"),
        ("handoff: [kitchen]", "handoff", "is not supported yet"),
        ("name: port", "name", "the file is called 'harbour'"),
        ("voice: true", "voice", "must be a text"),
        ("greeting: ''", "greeting", "is empty"),
        ("speed: 2", "speed", "must be from 0.25 to 1.5, not 2"),
        ("speed: .nan", "speed", "must be a number"),
        ("speed: true", "speed", "must be a number"),
        ("max_output_tokens: 0", "max_output_tokens", "must be from 1"),
        ("max_output_tokens: 1.5", "max_output_tokens", "whole number"),
        ("recording: perhaps", "recording", "must be on or off"),
        ("recording: null", "recording", "must be on or off"),
        ("replay: true", "replay", "must be one of off, text, full"),
        ("telemetry: all", "telemetry", "must be one of none, text, audio"),
        ("telemetry: off", "telemetry", "must be one of none, text, audio"),
        ("limits: {hours: 1}", "limits.hours", "is not known here"),
        ("limits: {minutes: 0}", "limits.minutes", "must be from 0.1"),
        ("limits: 5", "limits", "must be a mapping"),
        ("turn_detection: server_vad", "turn_detection", "is a mapping"),
        ("turn_detection: {type: magic}", "turn_detection.type", "must be one of"),
        ("turn_detection: {silence_ms: 99}", "turn_detection.silence_ms", "must be from 100 to 3000, not 99"),
        ("turn_detection: {type: semantic_vad, silence_ms: 500}", "turn_detection.silence_ms", "belongs to server_vad"),
        ("turn_detection: {threshold: 1.1}", "turn_detection.threshold", "must be from 0 to 1"),
        ("tools: bookings", "tools", "must be a list"),
        ("tools: [bookings]", "tools[0]", "must be a mapping"),
        ("tools: [{}]", "tools[0]", "mcp: SERVER"),
        ("tools: [{mcp: a, function: b}]", "tools[0]", "mcp: SERVER"),
        ("tools: [{function: b, allow: [c]}]", "tools[0].allow", "is not known here"),
        ("tools: [{mcp: a, allow: {t: {confirm: on}}}]", "tools[0].allow.t.confirm", "is not supported yet"),
        ("tools: [{mcp: a, allow: {t: {filler: Wait}}}]", "tools[0].allow.t.filler", "is not supported yet"),
        ("tools: [{mcp: a, allow: {t: {deadline_s: 0}}}]", "tools[0].allow.t.deadline_s", "must be from 0.1"),
        ("tools: [{mcp: a, allow: t}]", "tools[0].allow", "a list of tools"),
        ("tools: [{mcp: a, allow: {t: false}}]", "tools[0].allow.t", "must be a mapping"),
        ("tools: [{mcp: a, allow: {t: 0}}]", "tools[0].allow.t", "must be a mapping"),
        ("tools: [{mcp: a, allow: [t, t]}]", "tools[0].allow[1]", "stands in the list twice"),
        ("tools: [{mcp: a, allow: [false]}]", "tools[0].allow[0]", "must be a text"),
        ("client_may_set: instructions", "client_may_set", "must be a list"),
        ("client_may_set: [voices]", "client_may_set[0]", "is none of"),
        ("client_may_set: [tools, model]", "client_may_set[1]", "is not supported yet"),
        ("transcription: {language: en}", "transcription.model", "is missing"),
        ("limits: {cost_usd: 0}", "limits.cost_usd", "must be from 0.001 to 10000 dollars, not 0"),
        ("limits: {cost_usd: -1.50}", "limits.cost_usd", "must not be negative"),
        ("limits: {cost_usd: .nan}", "limits.cost_usd", "must be a number from 0.001 to 10000 dollars"),
        ("limits: {cost_usd: '0.5'}", "limits.cost_usd", "without quotes"),
        ("limits: {cost_usd: 0.5000000001}", "limits.cost_usd", "at most nine decimals"),
        ("limits: {cost_eur: 1}", "limits.cost_eur", "is not known here"),
        ("budget_goodbye: ' '", "budget_goodbye", "is empty"),
        (f"budget_goodbye: {'a' * 1001}", "budget_goodbye", "has 1001 characters; at most 1000"),
        ("offline: hello", "offline", "must be a mapping"),
        ("phone: on", "phone", "must be a mapping"),
        ("phone: {digits: text}", "phone.digits", "is not known here"),
        ("phone: {keys: true}", "phone.keys", "must be one of text, secret, off"),
        ("phone: {keys: loud}", "phone.keys", "must be one of text, secret, off"),
        ("phone: {terminator: 5}", "phone.terminator", "must be one of #, *, none"),
        ("phone: {rest_ms: 100}", "phone.rest_ms", "must be from 200 to 10000, not 100"),
        ("phone: {barge_in: perhaps}", "phone.barge_in", "must be on or off"),
        ("greeting: 'Hello {caller.name}'", "greeting", "'{caller.name}' is no placeholder; there are {today}"),
        ("greeting: 'Hello {'", "greeting", "for a brace, write two"),
        ("instructions: 'Say {name}'", "instructions", "'{name}' is no placeholder; there are {today}"),
        ("instructions: 'Say }'", "instructions", "for a brace, write two"),
    ],
)
def test_what_is_not_known_is_refused_with_its_field_and_line(tmp_path: Path, more: str, field: str, why: str) -> None:
    error = refused(tmp_path, f"# an agent\n{SMALL}{more}\n")
    assert (error.field, error.line) == (field, 3)
    assert why in error.message
    assert str(error) == f"{tmp_path}/harbour.yaml:3: {field}: {error.message}"


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("voice-live/x", "voice-live is not supported yet"),
        ("gpt-live/x", "gpt-live is not supported yet"),
        ("other/x", "must begin with one of local/"),
        ("openai", "lacks a name"),
        ("openai/", "lacks a name"),
    ],
)
def test_models_are_of_a_known_kind_and_named(tmp_path: Path, model: str, why: str) -> None:
    error = refused(tmp_path, f"\nmodel: {model}\n")
    assert (error.line, error.field) == (2, "model")
    assert why in error.message


def test_a_model_is_needed(tmp_path: Path) -> None:
    assert str(refused(tmp_path, "voice: marin\n")).endswith("harbour.yaml:1: model: is missing; write KIND/NAME")


def test_a_line_inside_a_list_is_found(tmp_path: Path) -> None:
    text = f"{SMALL}tools:\n  - function: hang_up\n  - mcp: a\n    allow:\n      t:\n        deadline_s: 9999\n"
    assert refused(tmp_path, text).line == 7


@pytest.mark.parametrize("field", ["offline.rules[1].say", "offline.rules.1.say", "offline.rules[1].say.more"])
def test_what_a_check_finds_is_given_its_line(tmp_path: Path, field: str) -> None:
    def check(agent: Agent) -> None:
        raise AgentProblem(field, "is odd")

    error = refused(tmp_path, f"{SMALL}offline:\n  rules:\n    - say: a\n    - name: b\n      say: c\n", check)
    assert (error.line, error.field, error.message) == (6, field, "is odd")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("model: [", 1, "is not YAML"),
        ("a: b: c\n", 1, "is not YAML"),
        ("model: a\n---\nmodel: b\n", 2, "is not YAML"),
        ("model: a\nvoice: \x07\n", 2, "a character that YAML does not allow"),
        ("- model\n", 1, "holds keys and values"),
        ("", 1, "holds keys and values"),
        ("model: a\nmodel: b\n", 2, "stands here twice, first in line 1"),
        ("model: &m a\nvoice: *m\n", 1, "anchors and aliases"),
        ("model: !other a\n", 1, "the tag !other is not supported"),
        ("offline: !other {}\n", 1, "the tag !other is not supported"),
        ("[a, b]: c\n", 1, "a key must be a word"),
        ("offline: " + "[" * 40 + "]" * 40, 1, "nested more than 32 deep"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    error = refused(tmp_path, text)
    assert error.line == line
    assert why in error.message


def test_files_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "harbour.yaml"
    with pytest.raises(AgentFileError, match="cannot be read"):
        load_agent(path, accept)
    path.write_bytes(b"model: a\nvoice: \xff\n")
    with pytest.raises(AgentFileError, match=r"harbour\.yaml:2: is not UTF-8 text"):
        load_agent(path, accept)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(AgentFileError, match="bytes; at most"):
        load_agent(path, accept)
    bad = tmp_path / "my agent.yaml"
    bad.write_text(SMALL)
    with pytest.raises(AgentFileError, match="letters, digits"):
        load_agent(bad, accept)


def test_scalars_are_what_they_look_like() -> None:
    text = "{a: 1, b: -1.5, c: 1e3, d: '1', e: on, f: True, g: ~, h: 2026-11-21, i: 0x10, j: .5, k: 1_000, l: .inf}"
    assert read_yaml(text).value == {
        "a": 1, "b": -1.5, "c": "1e3", "d": "1", "e": "on", "f": True, "g": None, "h": "2026-11-21", "i": "0x10",
        "j": 0.5, "k": "1_000", "l": ".inf",
    }  # fmt: skip


def test_a_field_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    document = read_yaml("\na:\n  - b: 1\n  - c: 2\n")
    assert [document.line_of(field) for field in ("a", "a[1].c", "a[1].d.e", "z", "")] == [2, 4, 4, 2, 2]
    with pytest.raises(YamlFault):
        read_yaml("a: *nothing\n")
