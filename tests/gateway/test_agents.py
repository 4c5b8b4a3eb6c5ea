from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from gateway.agent_files import AgentFileError, AgentProblem
from gateway.agents import AgentBook, NoAgents, render_instructions
from sessions.agent import Agent


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms

    def wall_s(self) -> float:
        return 1_795_300_000.0


def accept(agent: Agent) -> None:
    """A check that finds nothing."""


def write(folder: Path, name: str, text: str, at_s: int = 1000) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    os.utime(path, (at_s, at_s))
    return path


def voice_of(book: AgentBook, name: str) -> str | None:
    agent = book.get(name)
    assert agent is not None
    return agent.voice


def test_all_agents_are_read_at_once(tmp_path: Path) -> None:
    write(tmp_path, "b", "model: local/offline\n")
    write(tmp_path, "a", "model: openai/x\n")
    write(tmp_path, ".hidden", "not an agent: [")
    (tmp_path / "a.jsonl").write_text("{}")
    book = AgentBook(tmp_path, accept, HandClock())
    assert book.names() == ["a", "b"]
    assert [agent.name for agent in book.all()] == ["a", "b"]
    assert book.get("c") is None
    assert book.get("../a") is None
    assert book.problems == {}


def test_a_bad_file_stops_the_start(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\nzzz: 1\n")
    with pytest.raises(AgentFileError, match=r"a.yaml:2: zzz: is not known here"):
        AgentBook(tmp_path, accept, HandClock())


def test_a_check_stops_the_start_too(tmp_path: Path) -> None:
    def check(agent: Agent) -> None:
        raise AgentProblem("model", "there is no such script")

    write(tmp_path, "a", "\nmodel: scripted/x.yaml\n")
    with pytest.raises(AgentFileError, match=r"a.yaml:2: model: there is no such script"):
        AgentBook(tmp_path, check, HandClock())


def test_a_missing_folder_and_an_empty_one_say_where_agents_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoAgents, match=f"looked for in {tmp_path}/none, .* PATCHBAY_AGENTS_DIR"):
        AgentBook(tmp_path / "none", accept, HandClock())
    with pytest.raises(NoAgents, match=f"no agent in {tmp_path};"):
        AgentBook(tmp_path, accept, HandClock())


def test_a_file_that_ends_otherwise_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\n")
    (tmp_path / "b.yml").write_text("model: openai/x\n")
    with pytest.raises(AgentFileError, match=r"call it b\.yaml"):
        AgentBook(tmp_path, accept, HandClock())


def test_a_changed_file_is_read_again_after_a_second(tmp_path: Path) -> None:
    clock = HandClock()
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    first = book.get("a")
    write(tmp_path, "a", "model: openai/x\nvoice: ivy\n", at_s=2000)
    clock.ms = 999
    assert voice_of(book, "a") == "ash"
    clock.ms = 1000
    assert voice_of(book, "a") == "ivy"
    assert [agent.voice for agent in book.all()] == ["ivy"]
    assert first is not None
    assert first.version != book.all()[0].version


def test_a_file_that_stays_is_not_read_again(tmp_path: Path) -> None:
    clock = HandClock()
    seen: list[str] = []
    write(tmp_path, "a", "model: openai/x\n")
    book = AgentBook(tmp_path, lambda agent: seen.append(agent.name), clock)
    for clock.ms in range(0, 10_000, 500):
        book.get("a")
    assert seen == ["a"]


def test_a_file_that_turns_bad_leaves_the_last_good_version_until_it_is_mended(tmp_path: Path) -> None:
    clock = HandClock()
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    write(tmp_path, "a", "model: openai/x\nvoice: [\n", at_s=2000)
    clock.ms = 1000
    assert voice_of(book, "a") == "ash"
    assert "a.yaml:" in book.problems["a"]
    clock.ms = 2000
    assert voice_of(book, "a") == "ash"
    assert set(book.problems) == {"a"}
    write(tmp_path, "a", "model: openai/x\nvoice: ivy\n", at_s=3000)
    clock.ms = 3000
    assert voice_of(book, "a") == "ivy"
    assert book.problems == {}


def test_a_file_that_is_gone_leaves_its_agent(tmp_path: Path) -> None:
    clock = HandClock()
    path = write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    path.unlink()
    clock.ms = 1000
    assert voice_of(book, "a") == "ash"
    assert "cannot be read" in book.problems["a"]
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    clock.ms = 2000
    assert voice_of(book, "a") == "ash"
    assert book.problems == {}


def test_instructions_are_filled_and_doubled_braces_are_braces(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        "model: openai/x\n"
        'instructions: \'Today is {today}; {caller.number} calls. {{"a": {{"b": 1}}}} {{today}} {{{today}}}\'\n',
    )
    agent = AgentBook(tmp_path, accept, HandClock()).get("a")
    assert agent is not None
    today = datetime(2026, 11, 1)  # noqa: DTZ001 - any day
    text = render_instructions(agent, today=today, caller_number="+49 30 {today}")
    assert text == (
        'Today is Sunday, 1 November 2026; +49 30 {today} calls. {"a": {"b": 1}} {today} {Sunday, 1 November 2026}'
    )
    assert "; unknown calls." in render_instructions(agent, today=today, caller_number="")
