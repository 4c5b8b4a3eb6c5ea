"""The documents name only files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "bench/README.md",
    "tests/replays/README.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")),
]
OWN = ("audio", "sessions", "gateway", "patchbay", "mcp_servers", "console", "bench", "tests", "docs", "agents")
NAMED = re.compile(rf"`((?:{'|'.join(OWN)})/(?:[\w./-]*\.(?:py|md|yaml|json|js)|[\w/-]+/)?|[\w/-]+\.py)`")
LINKED = re.compile(r"\]\(([^)#:]+)\)")
EXAMPLES = {"agents/harbour.yaml"}  # files that a reader is told to write


def missing(document: Path, text: str) -> list[str]:
    """The paths in a document that lead nowhere: from the root, beside the document, or by a bare file name."""
    known = {path.name for top in OWN for path in (ROOT / top).rglob("*.py")}
    named = [name for name in NAMED.findall(text) if name not in EXAMPLES and name not in known]
    linked = LINKED.findall(text)
    return [
        *(name for name in named if not (ROOT / name).exists()),
        *(name for name in linked if not (document.parent / name).exists()),
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_names_is_there(name: str) -> None:
    assert missing(ROOT / name, (ROOT / name).read_text()) == []


def test_a_file_that_is_gone_is_found() -> None:
    text = "See `gateway/gone.py`, `gone_too.py`, `gateway/app.py`, `app.py` and [this](gone.md)."
    assert missing(ROOT / "README.md", text) == ["gateway/gone.py", "gone_too.py", "gone.md"]
