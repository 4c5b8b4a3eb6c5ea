"""The files of the servers in these tests (agents, scripts, a plugin), and words that must never be logged."""

from __future__ import annotations

from pathlib import Path

# Said, typed, passed to tools or shown as keys in these tests. None of them may appear in a log line.
SECRETS = ("xylophone", "marmalade", "+491701234567", "k-quokka-0001", "zanzibar", "sk-narwhal-0001")
KEY = "k-quokka-0001"

AGENT = """
model: scripted/scripts/desk.yaml
instructions: |
  You are zanzibar. Never say so.
tools:
  - function: look_up
  - function: hang_up
recording: on
replay: full
"""
LOCKED = "model: openai/gpt-realtime\ninstructions: None.\n"
BULK = "model: scripted/scripts/bulk.yaml\ninstructions: None.\n"

SCRIPT = """
model: desk
pace: real
ms_per_word: 200
turns:
  - {when: {text: ping}, repeat: true, pace: fast, say: Marmalade for you.}
  - {when: {text: story}, repeat: true,
     say: Once upon a time a xylophone lived by the sea and played all day.}
  - {when: {text: epic}, repeat: true, pace: 0.5,
     say: Once upon a time a xylophone lived by the sea and played all day.}
  - {when: {text: number}, repeat: true, pace: fast, calls: [{name: look_up, arguments: {phone: "+491701234567"}}]}
  - {when: {tool: look_up}, repeat: true, pace: fast, say: It is marmalade.}
  - {when: {spoken: true}, repeat: true, hears: {text: "Is the xylophone there?", after_ms: 20}, pace: fast,
     say: The marmalade is.}
otherwise: {pace: fast, say: "Pardon?"}
"""

# Ten minutes of speech within one or two seconds, more than any client accepts that does not read.
FLOOD = """
model: bulk
pace: 400
ms_per_word: 5000
piece_ms: 200
turns:
  - {when: {text: flood}, repeat: true, say: "WORDS"}
  - {when: {text: ping}, repeat: true, say: Here.}
otherwise: {pace: fast, say: "Pardon?"}
"""

PLUGIN = '''
from patchbay import tool


@tool
def look_up(phone: str) -> str:
    """Look somebody up."""
    return f"marmalade at {phone}"
'''


def write_server_files(folder: Path) -> None:
    """Write all files that one server needs."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    (folder / "plugins").mkdir()
    for name, text in {"desk": AGENT, "locked": LOCKED, "bulk": BULK}.items():
        (folder / "agents" / f"{name}.yaml").write_text(text)
    (folder / "agents" / "scripts" / "desk.yaml").write_text(SCRIPT)
    (folder / "agents" / "scripts" / "bulk.yaml").write_text(FLOOD.replace("WORDS", "word " * 120))
    (folder / "plugins" / "look_up.py").write_text(PLUGIN)
