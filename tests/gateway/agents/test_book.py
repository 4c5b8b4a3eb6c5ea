from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest

from gateway.agents.book import AgentBook, NoAgents, render_greeting, render_instructions
from gateway.agents.files import AgentFileError, AgentFilesError, AgentProblem
from sessions.agent import Agent
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts


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


def look(book: AgentBook, clock: HandClock, at_ms: int) -> None:
    clock.ms = at_ms
    asyncio.run(book.look())


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


def test_all_bad_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\nzzz: 1\n")
    write(tmp_path, "b", "model: openai/x\n")
    write(tmp_path, "c", "model: [\n")
    with pytest.raises(AgentFilesError) as caught:
        AgentBook(tmp_path, accept, HandClock())
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/a.yaml:2: zzz: is not known here")
    assert second.startswith(f"{tmp_path}/c.yaml:")


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
    look(book, clock, 999)
    assert voice_of(book, "a") == "ash"
    look(book, clock, 1000)
    assert voice_of(book, "a") == "ivy"
    assert [agent.voice for agent in book.all()] == ["ivy"]
    assert first is not None
    assert first.version != book.all()[0].version


def test_a_file_that_stays_is_not_read_again(tmp_path: Path) -> None:
    clock = HandClock()
    seen: list[str] = []
    write(tmp_path, "a", "model: openai/x\n")
    book = AgentBook(tmp_path, lambda agent: seen.append(agent.name), clock)
    for at_ms in range(0, 10_000, 500):
        look(book, clock, at_ms)
    assert seen == ["a"]


def test_a_version_is_given_to_calls_once_it_is_ready(tmp_path: Path) -> None:
    clock = HandClock()
    ready: set[str | None] = set()
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock, lambda agent: agent.voice in ready)
    assert voice_of(book, "a") == "ash"  # there is none before it
    write(tmp_path, "a", "model: openai/x\nvoice: ivy\n", at_s=2000)
    look(book, clock, 1000)
    assert voice_of(book, "a") == "ash"
    assert [agent.voice for agent in book.needed()] == ["ash", "ivy"]
    ready.add("ivy")
    assert voice_of(book, "a") == "ivy"
    assert [agent.voice for agent in book.needed()] == ["ivy"]


def test_a_version_that_was_overtaken_or_taken_back_is_never_given(tmp_path: Path) -> None:
    clock = HandClock()
    ready = {"elm"}
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock, lambda agent: agent.voice in ready)
    for at_s, voice in ((2, "ivy"), (3, "oak"), (4, "ash")):
        write(tmp_path, "a", f"model: openai/x\nvoice: {voice}\n", at_s=at_s)
        look(book, clock, 1000 * at_s)
        assert [agent.voice for agent in book.needed()] == (["ash"] if voice == "ash" else ["ash", voice])
    ready |= {"ivy", "oak"}
    assert voice_of(book, "a") == "ash"


def test_a_version_that_will_never_be_ready_leaves_the_last_good_one(tmp_path: Path) -> None:
    def ready(agent: Agent) -> bool:
        if agent.voice == "ivy":
            raise AgentProblem("model", "it cannot be loaded")
        return True

    clock = HandClock()
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock, ready)
    write(tmp_path, "a", "model: openai/x\nvoice: ivy\n", at_s=2000)
    look(book, clock, 1000)
    assert voice_of(book, "a") == "ash"
    assert book.problems == {"a": f"{tmp_path}/a.yaml: model: it cannot be loaded"}
    assert len(book.needed()) == 1
    write(tmp_path, "a", "model: openai/x\nvoice: oak\n", at_s=3000)
    look(book, clock, 2000)
    assert voice_of(book, "a") == "oak"
    assert book.problems == {}


def test_a_file_that_turns_bad_leaves_the_last_good_version_until_it_is_mended(tmp_path: Path) -> None:
    clock = HandClock()
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    write(tmp_path, "a", "model: openai/x\nvoice: [\n", at_s=2000)
    look(book, clock, 1000)
    assert voice_of(book, "a") == "ash"
    assert "a.yaml:" in book.problems["a"]
    look(book, clock, 2000)
    assert voice_of(book, "a") == "ash"
    assert set(book.problems) == {"a"}
    write(tmp_path, "a", "model: openai/x\nvoice: ivy\n", at_s=3000)
    look(book, clock, 3000)
    assert voice_of(book, "a") == "ivy"
    assert book.problems == {}


def test_a_file_that_is_gone_leaves_its_agent(tmp_path: Path) -> None:
    clock = HandClock()
    path = write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    path.unlink()
    look(book, clock, 1000)
    assert voice_of(book, "a") == "ash"
    assert "cannot be read" in book.problems["a"]
    write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    look(book, clock, 2000)
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
    text = render_instructions(agent, today=today, caller=CallerFacts.of("+49 30 {today}"))
    assert text == (
        'Today is Sunday, 1 November 2026; +49 30 {today} calls. {"a": {"b": 1}} {today} {Sunday, 1 November 2026}'
    )
    assert "; unknown calls." in render_instructions(agent, today=today, caller=UNKNOWN_CALLER)


def test_instructions_name_the_number_that_was_called_and_who_dialled(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\ninstructions: 'To {caller.called}, {caller.direction}.'\n")
    agent = AgentBook(tmp_path, accept, HandClock()).get("a")
    assert agent is not None
    today = datetime(2026, 11, 1)  # noqa: DTZ001 - any day
    caller = CallerFacts.of("+4930", "+4989", "outbound")
    assert render_instructions(agent, today=today, caller=caller) == "To +4989, outbound."
    assert render_instructions(agent, today=today, caller=UNKNOWN_CALLER) == "To unknown, inbound."


def test_instructions_name_the_language_of_the_called_number(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\ninstructions: 'Speak {caller.language}.'\n")
    agent = AgentBook(tmp_path, accept, HandClock()).get("a")
    assert agent is not None
    today = datetime(2026, 11, 1)  # noqa: DTZ001 - any day
    german = CallerFacts.of(language="de-DE")
    assert render_instructions(agent, today=today, caller=german) == "Speak de-DE."
    assert render_instructions(agent, today=today, caller=UNKNOWN_CALLER) == "Speak unknown."


def test_a_greeting_is_filled_like_the_instructions(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\ngreeting: 'Hello {caller.number}, it is {today}. {{}}'\n")
    write(tmp_path, "b", "model: openai/x\n")
    book, today = AgentBook(tmp_path, accept, HandClock()), datetime(2026, 11, 1)  # noqa: DTZ001 - any day
    greeting, silent = book.get("a"), book.get("b")
    assert greeting is not None
    assert silent is not None
    text = render_greeting(greeting, today=today, caller=CallerFacts.of("+4930"))
    assert text == "Hello +4930, it is Sunday, 1 November 2026. {}"
    assert render_greeting(silent, today=today, caller=UNKNOWN_CALLER) is None


def test_a_number_beyond_all_sense_costs_the_edit_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "desk", "model: openai/gpt-realtime\nvoice: marin\n")
    clock = HandClock()
    book = AgentBook(tmp_path, accept, clock)
    write(tmp_path, "desk", "model: openai/gpt-realtime\nmax_output_tokens: " + "9" * 5000 + "\n", at_s=2000)
    look(book, clock, 2000)
    assert voice_of(book, "desk") == "marin"
    assert "desk.yaml:2: max_output_tokens: is a number of more than" in book.problems["desk"]


def test_a_link_that_leads_nowhere_is_no_agent_that_is_just_missing(tmp_path: Path) -> None:
    write(tmp_path, "desk", "model: local/offline\n")
    (tmp_path / "sales.yaml").symlink_to(tmp_path / "moved.yaml")
    with pytest.raises(AgentFileError, match=r"sales\.yaml.*cannot be read"):
        AgentBook(tmp_path, accept, HandClock())


def test_a_file_that_becomes_no_plain_file_leaves_its_agent_and_the_look_at_the_others(tmp_path: Path) -> None:
    clock = HandClock()
    path = write(tmp_path, "a", "model: openai/x\nvoice: ash\n")
    write(tmp_path, "b", "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, accept, clock)
    path.unlink()
    os.mkfifo(path)
    write(tmp_path, "b", "model: openai/x\nvoice: ivy\n", at_s=2000)
    look(book, clock, 1000)
    assert (voice_of(book, "a"), voice_of(book, "b")) == ("ash", "ivy")
    assert book.problems == {"a": f"{path}: cannot be read: is a named pipe; put a plain file there"}
    path.unlink()
    path.touch()
    os.truncate(path, 2 << 30)
    look(book, clock, 2000)
    assert "has 2147483648 bytes; at most 1048576 are read" in book.problems["a"]
    path.write_text("model: openai/x\na: " + "[" * 100_000)
    look(book, clock, 3000)
    assert book.problems == {"a": f"{path}:2: a{'[0]' * 32}: is nested more than 32 deep"}


def test_a_check_that_breaks_leaves_the_look_at_the_others(tmp_path: Path) -> None:
    def check(agent: Agent) -> None:
        if agent.voice == "oak":
            raise RecursionError

    clock = HandClock()
    for name in ("a", "b"):
        write(tmp_path, name, "model: openai/x\nvoice: ash\n")
    book = AgentBook(tmp_path, check, clock)
    write(tmp_path, "a", "model: openai/x\nvoice: oak\n", at_s=2000)
    write(tmp_path, "b", "model: openai/x\nvoice: ivy\n", at_s=2000)
    look(book, clock, 1000)
    assert (voice_of(book, "a"), voice_of(book, "b")) == ("ash", "ivy")
    assert book.problems["a"].startswith(f"{tmp_path}/a.yaml: cannot be used: RecursionError")


def test_what_is_called_like_an_agents_file_and_is_none_stops_the_start(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: openai/x\n")
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").mkdir()
    with pytest.raises(AgentFilesError) as caught:
        AgentBook(tmp_path, accept, HandClock())
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/b.yaml: cannot be read: is a named pipe; put a plain file there",
        f"{tmp_path}/c.yaml: cannot be read: is a folder; put a plain file there",
    ]
