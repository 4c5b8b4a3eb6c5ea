"""The files of a server whose agents, scripts, tools and settings are full of canaries: an agent for each call."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers.canaries import KEYS, Place, in_url
from peers.server_process import ROOT, Server, serving

CALLS = 30
PHONES = range(18, CALLS)  # the other calls come over the Realtime protocol
SECRET = range(24, CALLS)  # on these telephone calls pressed keys are secret

# What is said and passed to tools may be sent where a person has turned content on, after redaction.
TYPED, HEARD, SAID = (Place(name, sent=True) for name in ("typed", "heard", "said"))
GREETING = Place("greeting", sent=True)
ARGUMENTS, RESULT = Place("arguments", sent=True), Place("result", sent=True)
IN_JSON, IN_URL = Place("result in JSON", sent=True), Place("result in URL", sent=True)
MCP_ARGUMENTS, MCP_RESULT = Place("MCP arguments", sent=True), Place("MCP result", sent=True)
CLIENT_RESULT = Place("client's result", sent=True)
# None of these is ever sent.
INSTRUCTIONS, DESCRIPTION = Place("instructions"), Place("description")
RAISED, REFUSED = Place("exception"), Place("function's no")
MCP_NO, MCP_ERROR = Place("MCP refusal"), Place("MCP error")
MCP_STDOUT, MCP_START = Place("MCP stdout"), Place("MCP start")
FAULT = Place("server's fault")
MODEL_ERROR, MODEL_FAIL = Place("model's error"), Place("model's failure")
INVENTED = Place("invented tool")
CLIENTS = Place("client's words")  # instructions, system messages, metadata, ids: everything a client may send beside
URL, HEADER = Place("URL"), Place("header")
COMMENT = Place("comment", sent=True)  # of a score, to Langfuse
SCORE = Place("score's value")  # a word is sent as a value, so there is no name in it
NUMBER, CARRIER = Place("caller's number"), Place("carrier's fields")
PRESSED, COLLECTED = Place("pressed"), Place("collected")

ACCOUNT, TOKEN = "AC00000000000000000000000000000000", "made-up-token-for-a-trial"
PUBLIC = "https://voice.example"
PLUGIN = """
import json
from pathlib import Path

from patchbay import ToolFailed, tool

TEXTS = json.loads(Path("texts.json").read_text())


@tool
def look_up(call: int, notes: str, more: list[dict[str, str]]) -> dict[str, object]:
    \"""Look somebody up.\"""
    return TEXTS["look_up"][call]


@tool
def fall_over(call: int) -> str:
    \"""Fail.\"""
    try:
        raise KeyError(TEXTS["raise"][call])
    except KeyError as error:
        raise RuntimeError(TEXTS["raise"][call]) from error


@tool
async def refuse(call: int) -> str:
    \"""Say no.\"""
    raise ToolFailed(TEXTS["refuse"][call])
"""


def keys_of(place: Place, call: int) -> str:
    """The keys that are pressed in a call."""
    return place.canary(KEYS, call)


def number_of(call: int) -> str:
    """The number that leads to a call's agent."""
    return f"+4930{call:06}"


def look_up_result(call: int) -> dict[str, object]:
    """What the function returns: words, numbers, JSON in a text, and an address."""
    query = "&".join(
        f"{kind}={in_url(IN_URL.canary(kind, call))}" for kind in ("card", "phone", "email", "iban", "key")
    )
    inner = {kind: IN_JSON.canary(kind, call) for kind in ("card", "phone", "email", "iban", "key")}
    return {
        "note": RESULT.words(call),
        "number": int(RESULT.canary("card", call)),
        RESULT.canary("email", call): RESULT.canary("phone", call),
        "raw": json.dumps(inner) + "\\n" + json.dumps(json.dumps(inner)),
        "lines": "\n".join(inner.values()) + json.dumps("\n".join(inner.values())),
        "url": f"https://crm.example/find?{query}",
    }


def write_house(folder: Path) -> None:
    """Write all files of the server."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    (folder / "plugins").mkdir()
    for call in range(CALLS):
        (folder / "agents" / f"c{call:02}.yaml").write_text(json.dumps(_agent(call)))
        script = _phone_script(call) if call in PHONES else _web_script(call)
        head = {"model": "desk", "ms_per_word": 40, "otherwise": {"say": "Pardon?"}}
        (folder / "agents" / "scripts" / f"c{call:02}.yaml").write_text(json.dumps({**head, "turns": script}))
    texts = {
        "look_up": [look_up_result(call) for call in range(CALLS)],
        "raise": [RAISED.words(call) for call in range(CALLS)],
        "refuse": [REFUSED.words(call) for call in range(CALLS)],
    }
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "plugins" / "desk.py").write_text(PLUGIN)
    (folder / "odd.json").write_text(json.dumps(_mcp_script()))
    crm = {
        "command": sys.executable,
        "args": ["-m", "peers.canary_mcp", str(folder / "odd.json"), MCP_START.words(0)],
        "env": {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"crm": crm}}))
    config = {
        "public_url": PUBLIC,
        "numbers": {number_of(call): f"c{call:02}" for call in PHONES},
        "carriers": {"twilio": {"account_sid": ACCOUNT, "auth_token": TOKEN}},
    }
    (folder / "patchbay.yaml").write_text(json.dumps(config))


@contextmanager
def canary_house(folder: Path, **settings: str) -> Iterator[Server]:
    """The server, once its tool server is connected."""
    write_house(folder)
    with serving(folder, module="peers.breaking_server", **settings) as server:
        until = time.monotonic() + 20
        while any(agent["tool_servers_down"] for agent in server.ask("/api/v1/agents")[1]["agents"]):
            assert time.monotonic() < until, server.log()
            time.sleep(0.1)
        yield server


def _agent(call: int) -> dict[str, Any]:
    tools: list[dict[str, Any]] = [{"function": name} for name in ("look_up", "fall_over", "refuse")]
    keys = "secret" if call in SECRET else "text"
    return {
        "model": f"scripted/scripts/c{call:02}.yaml",
        "description": DESCRIPTION.words(call),
        "instructions": INSTRUCTIONS.words(call) + " The number is {caller.number}.",
        "greeting": GREETING.words(call),
        "client_may_set": ["instructions", "server_tools"],
        "tools": [*tools, {"function": "collect_digits"}, {"mcp": "crm"}],
        "phone": {"keys": keys, "rest_ms": 500},
        "recording": "on",
        "replay": "full",
    }


def _calls(name: str, call: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": {"call": call, **more}}]


def _look_up(call: int) -> list[dict[str, Any]]:
    more = [{"words": ARGUMENTS.words(call), ARGUMENTS.canary("email", call): ARGUMENTS.canary("name", call)}]
    return _calls("look_up", call, notes=ARGUMENTS.words(call), more=more)


def _web_script(call: int) -> list[dict[str, Any]]:
    error = {"code": MODEL_ERROR.words(call), "message": MODEL_ERROR.words(call)}
    fail = {"code": MODEL_FAIL.words(call), "message": MODEL_FAIL.words(call)}
    number = call % 3
    return [
        {"when": {"text": "step-typed"}, "say": SAID.words(call)},
        {"when": {"text": "step-function"}, "calls": _look_up(call)},
        {"when": {"text": "step-raise"}, "calls": _calls("fall_over", call)},
        {"when": {"text": "step-refuse"}, "calls": _calls("refuse", call)},
        {"when": {"text": "step-mcp"}, "calls": _calls(f"find_{number}", call, notes=MCP_ARGUMENTS.words(call))},
        {"when": {"text": "step-no"}, "calls": _calls(f"deny_{number}", call)},
        {"when": {"text": "step-break"}, "calls": _calls(f"break_{number}", call)},
        {"when": {"text": "step-invented"}, "calls": _calls(f"call {INVENTED.words(call)}", call)},
        {"when": {"text": "step-client"}, "calls": _calls("ask_page", call)},
        {"when": {"text": "step-error"}, "say": "Well.", "fault": {"error": error}},
        {"when": {"text": "step-fail"}, "say": "Well.", "fault": {"fail": fail}},
        {"when": {"spoken": True}, "hears": HEARD.words(call), "say": "I see."},
        {"say": "So it is.", "repeat": True},
    ]


def _phone_script(call: int) -> list[dict[str, Any]]:
    first, second = keys_of(PRESSED, call), keys_of(COLLECTED, call)
    pin = {"notes": first, "more": [{"pin": f"{first[:4]} {first[4:]}"}]}
    said = f"You have pressed {first}, that is {' '.join(first)}."
    return [
        {"when": {"text": first}, "say": said, "calls": _calls("look_up", call, **pin)},
        {"when": {"tool": "look_up"}, "say": SAID.words(call), "calls": [{"name": "collect_digits", "arguments": {}}]},
        {"when": {"tool": "collect_digits"}, "say": f"Thank you for {second}."},
        {"when": {"spoken": True}, "hears": HEARD.words(call), "say": f"You, {SAID.words(call)}, pressed {first}."},
        {"say": "So it is.", "repeat": True},
    ]


def _mcp_script() -> dict[str, Any]:
    """Three tools of a kind, with the canaries of the calls 0 to 2."""
    script: dict[str, Any] = {}
    for at in range(3):
        for name, text, failed in (("find", MCP_RESULT, False), ("deny", MCP_NO, True)):
            result = {"content": [{"type": "text", "text": text.words(at)}], "isError": failed}
            answer = json.dumps({"jsonrpc": "2.0", "id": "ID", "result": result})
            script[f"{name}_{at}"] = f"{MCP_STDOUT.words(at)}NEWLINE{answer}"
        error = {"code": -32603, "message": MCP_ERROR.words(at), "data": MCP_ERROR.words(at)}
        script[f"break_{at}"] = json.dumps({"jsonrpc": "2.0", "id": "ID", "error": error})
    return script
