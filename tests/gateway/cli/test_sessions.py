"""`patchbay sessions follow`: each session once, in order, with a position from which nothing is missed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.stores.records import session_record
from support.stores.store_contract import HandClock, turn

from gateway.cli.commands import run
from gateway.cli.output import OutputLost
from gateway.cli.sessions import PAGE_DOCUMENTS, POLL_S, EndedSession, EndedSessions, follow_sessions
from sessions.caller_facts import CallerFacts
from sessions.record import CallSummary
from sessions.stores.contract import BadCursor, Changes, Document, StoreBusy
from sessions.stores.documents import RecordingInfo, RecordingState, SessionState, session_document
from sessions.stores.sqlite import SqliteStore

Captured = pytest.CaptureFixture[str]


def live(session_id: str, **more: Any) -> Document:
    return session_document(session_record(session_id, **more), ttl_s=None)


def ended(session_id: str, **more: Any) -> Document:
    summary = CallSummary(turns=2, duration_ms=12_345, end_reason="caller_hung_up")
    return live(session_id, state=SessionState.ENDED, ended_at=1012.345, summary=summary, **more)


class World:
    """A store in memory, and what was found in it."""

    def __init__(self) -> None:
        self.store = SqliteStore(":memory:", HandClock(), inline=True)
        self.skipped: list[str] = []

    async def put(self, *documents: Document) -> None:
        for document in documents:
            await self.store.put(document, None)

    def follower(self, position: str | None = None, tenant: str | None = None) -> EndedSessions:
        return EndedSessions(self.store, position, tenant, self.skipped.append)

    async def found(self, sessions: EndedSessions) -> list[EndedSession]:
        """All sessions up to the present end of the changes."""
        found = []
        more = True
        while more:
            session, more = await sessions.next()
            if session is not None:
                found.append(session)
        return found

    async def ids(self, sessions: EndedSessions) -> list[str]:
        return [session.record.session_id for session in await self.found(sessions)]


def in_world(test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        await world.store.open()
        async with asyncio.timeout(20):
            await test(world)
        await world.store.close()

    asyncio.run(main())


def test_sessions_come_once_each_in_the_order_in_which_they_ended() -> None:
    async def test(world: World) -> None:
        sessions = world.follower()
        await world.put(live("a"), live("b"), turn("a", 0), live("c"))
        assert await world.ids(sessions) == []
        await world.put(ended("c"), turn("c", 0), ended("a"))
        assert await world.ids(sessions) == ["c", "a"]
        ready = RecordingInfo(RecordingState.READY, stereo="call.flac")
        await world.put(ended("c", recording=ready), turn("b", 0), ended("b"))
        assert await world.ids(sessions) == ["b"]
        assert await world.ids(sessions) == []

    in_world(test)


def test_a_session_that_goes_on_after_its_end_comes_again() -> None:
    async def test(world: World) -> None:
        sessions = world.follower()
        await world.put(ended("a"))
        assert await world.ids(sessions) == ["a"]
        await world.put(live("a"))
        assert await world.ids(sessions) == []
        await world.put(ended("a"))
        assert await world.ids(sessions) == ["a"]

    in_world(test)


def test_from_the_position_of_any_line_exactly_the_later_sessions_come() -> None:
    async def test(world: World) -> None:
        for number in range(3 * PAGE_DOCUMENTS):
            await world.put(ended(f"s{number:02}"))
            if number % 7 == 0:
                await world.put(*(turn(f"s{number:02}", index) for index in range(number)))
        found = await world.found(world.follower())
        ids = [session.record.session_id for session in found]
        assert ids == [f"s{number:02}" for number in range(3 * PAGE_DOCUMENTS)]
        for number, session in enumerate(found):
            assert await world.ids(world.follower(session.position)) == ids[number + 1 :]

    in_world(test)


def test_only_the_sessions_of_one_tenant_come() -> None:
    async def test(world: World) -> None:
        await world.put(ended("a"), ended("b", tenant="shop"), ended("c"), ended("d", tenant="shop"))
        assert await world.ids(world.follower(tenant="shop")) == ["b", "d"]
        found = await world.found(world.follower())
        assert [session.record.tenant for session in found] == ["default", "shop", "default", "shop"]

    in_world(test)


def test_a_session_whose_document_cannot_be_read_is_named_and_skipped() -> None:
    async def test(world: World) -> None:
        newer, wrong, caller = ended("a"), ended("b"), ended("c")
        await world.put({**newer, "schema": 99}, {**wrong, "summary": "long"})
        await world.put({**caller, "caller": {"number": {"hush": 1}}}, ended("d"))
        assert await world.ids(world.follower()) == ["d"]
        assert [message.partition(": ")[0] for message in world.skipped] == [
            f"session {name} of tenant default is skipped" for name in "abc"
        ]
        assert "hush" not in str(world.skipped)

    in_world(test)


def test_a_line_holds_the_facts_of_the_session_and_no_words() -> None:
    async def test(world: World) -> None:
        caller = replace(CallerFacts.of(None, None, None, None), number="+4930123456")
        said = {"kind": "said", "text": "xylophone"}
        await world.put(ended("a", caller=caller), turn("a", 0, entries=[said]))
        (session,) = await world.found(world.follower())
        line = json.loads(session.json_line())
        assert list(line)[:3] == ["position", "tenant", "session_id"]
        assert (line["position"], line["state"], line["ended_at"]) == (session.position, "ended", 1012.345)
        assert (line["summary"]["duration_ms"], line["end_reason"]) == (12_345, "caller_hung_up")
        assert "\n" not in session.json_line()
        assert session.text_line() == (
            "1970-01-01T00:16:52Z  a  default/harbour  12.3 s  2 turns  caller_hung_up  recording off  "
            f"{session.position}"
        )
        assert "xylophone" not in session.json_line() + session.text_line()

    in_world(test)


class Odd:
    """A reader whose answers a test gives."""

    def __init__(self, *answers: Changes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def changes(self, after: str | None, limit: int) -> Changes:
        self.asked.append(after)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def followed(reader: Odd) -> tuple[list[str], list[float]]:
    """The sessions that were shown and the pauses in seconds, until the reader has no more answers."""
    shown: list[str] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    sessions = EndedSessions(reader, None, None, shown.append)
    asyncio.run(
        follow_sessions(
            sessions, lambda found: shown.append(found.record.session_id), lambda: not reader.answers, sleep
        )
    )
    return shown, slept


def test_the_store_is_read_once_a_second_and_at_once_where_more_may_be_there() -> None:
    reader = Odd(Changes((), "p0"), Changes((ended("a"),), "p1"), Changes((ended("b"),), "p2"), Changes((), "p2"))
    assert followed(reader) == (["a", "b"], [POLL_S, POLL_S])
    assert reader.asked == [None, "p0", "p1", "p2"]


def test_a_busy_store_is_left_alone_for_as_long_as_it_asks() -> None:
    busy = StoreBusy("busy", retry_after_ms=7000)
    assert followed(Odd(busy, Changes((ended("a"),), "p1"), busy)) == (["a"], [7.0, 7.0])


def test_a_page_that_changes_while_it_is_cut_misses_no_session() -> None:
    both = Changes((turn("a", 0), ended("a"), ended("b")), "p2")
    moved = Changes((turn("a", 0), ended("b")), "p2")  # `a` has changed once more and comes later
    last = Changes((ended("a"),), "p3")
    reader = Odd(both, moved, last)
    assert followed(reader)[0] == ["b", "a"]
    assert reader.asked == [None, None, "p2"]


def test_a_position_of_another_store_is_refused_to_the_caller() -> None:
    async def test(world: World) -> None:
        with pytest.raises(BadCursor):
            await world.follower("cosmos-1").next()

    in_world(test)


def ran(captured: Captured, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `patchbay sessions follow`."""
    try:
        code = run(["sessions", "follow", *arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    printed = captured.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose store holds one ended session."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHBAY_STORE", f"sqlite://{tmp_path}/patchbay.db")

    async def main() -> None:
        store = SqliteStore(f"{tmp_path}/patchbay.db", HandClock())
        await store.open()
        await store.put(ended("a"), None)
        await store.close()

    asyncio.run(main())
    return tmp_path


@pytest.mark.parametrize("since", ["", "5", "sqlite-2", "cosmos-1", "\udcff"])
def test_a_bad_position_ends_the_command_and_says_what_to_do(folder: Path, capsys: Captured, since: str) -> None:
    code, printed, wrong = ran(capsys, "--since", since)
    assert (code, printed) == (2, "")
    assert wrong.startswith(f"patchbay: --since {since!r}: is no position in this store; give one that this command ")
    code, printed, wrong = ran(capsys, "--since", since, "--json")
    assert (code, wrong) == (2, "")
    assert "leave it out" in json.loads(printed)["error"]["message"]


def test_a_bad_position_of_any_length_is_shown_in_short(folder: Path, capsys: Captured) -> None:
    code, printed, wrong = ran(capsys, "--since", "x" * 100_000)
    assert (code, printed, len(wrong) < 400, "…: is no position in this store" in wrong) == (2, "", True, True)


def test_a_row_that_is_no_document_is_named_on_standard_error(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(folder / "patchbay.db") as other:
        other.execute(
            "INSERT INTO documents (tenant, session_id, id, type, body)"
            " VALUES ('default', 'odd', 'session', 'session', '{')"
        )
    other.close()
    lines: list[str] = []
    monkeypatch.setattr("gateway.cli.sessions.write_line", lines.append)
    monkeypatch.setattr("gateway.cli.sessions.output_closed", lambda: bool(lines))
    code, _, wrong = ran(capsys)
    assert (code, len(lines)) == (0, 1)
    assert wrong.startswith(
        "patchbay: a stored document cannot be read: document 'session' of session 'odd' of tenant 'default' (row 2)"
        " is not JSON"
    )
    assert wrong.count("\n") == 1


def test_a_row_that_is_no_document_is_named_once_though_its_page_is_read_again(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(folder / "patchbay.db") as other:
        for session_id in ("odd", "odder"):
            other.execute(
                "INSERT INTO documents (tenant, session_id, id, type, body)"
                " VALUES ('default', ?, 'session', 'session', '{')",
                (session_id,),
            )
    other.close()

    async def add() -> None:
        store = SqliteStore(f"{folder}/patchbay.db", HandClock())
        await store.open()
        await store.put(ended("b"), None)
        await store.put(ended("c"), None)
        await store.close()

    asyncio.run(add())
    lines: list[str] = []
    monkeypatch.setattr("gateway.cli.sessions.write_line", lines.append)
    monkeypatch.setattr("gateway.cli.sessions.output_closed", lambda: len(lines) == 3)
    code, _, wrong = ran(capsys)
    assert (code, len(lines)) == (0, 3)
    assert [line.partition("of session ")[2].partition(" ")[0] for line in wrong.splitlines()] == ["'odd'", "'odder'"]


def test_a_tenant_that_no_key_can_have_is_refused(folder: Path, capsys: Captured) -> None:
    code, printed, wrong = ran(capsys, "--tenant", "_boots")
    assert (code, printed, wrong.startswith("patchbay: --tenant '_boots': ")) == (2, "", True)


def test_a_store_that_is_not_there_ends_the_command(folder: Path, capsys: Captured) -> None:
    (folder / "patchbay.db").unlink()
    code, printed, wrong = ran(capsys)
    assert (code, printed) == (1, "")
    assert wrong == f"patchbay: {folder}/patchbay.db does not exist; a server makes it when it starts\n"
    code, printed, wrong = ran(capsys, "--json")
    assert (code, wrong, "does not exist" in json.loads(printed)["error"]["message"]) == (1, "", True)


@pytest.mark.parametrize(
    ("problem", "end"),
    [
        (KeyboardInterrupt(), (0, "", "")),
        (OutputLost(BrokenPipeError(32, "Broken pipe")), (0, "", "")),
        (OutputLost(OSError(28, "No space left")), (1, "", "patchbay: a line could not be printed: No space left\n")),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_interrupt_and_a_closed_output_end_the_command_cleanly(
    folder: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    end: tuple[int, str, str],
    arguments: tuple[str, ...],
) -> None:
    def interrupted(line: str) -> None:
        raise problem

    monkeypatch.setattr("gateway.cli.sessions.write_line", interrupted)
    assert ran(capsys, *arguments) == end
