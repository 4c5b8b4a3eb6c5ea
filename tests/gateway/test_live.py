"""The board of live calls: counted by tenant, waited for, told goodbye, each ending alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from call_rig import Rig, hosted
from virtual import run

from gateway.live import CallBoard, LiveCall


def test_a_call_is_on_the_board_while_it_runs(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            board = rig.board
            assert (len(board), board.count_of("default"), board.count_of("other")) == (1, 1, 0)
            assert board.of("default") == [rig.live]
            assert board.of("other") == []
            assert board.find("default", "sess_1") is rig.live
            assert board.find("other", "sess_1") is None
            assert board.find("default", "sess_2") is None
        return rig

    rig = run(main())
    assert (len(rig.board), rig.board.count_of("default"), rig.board.served, rig.board.broken) == (0, 0, 1, 0)
    assert rig.board.find("default", "sess_1") is None


def test_an_empty_board_is_not_waited_for() -> None:
    async def main() -> None:
        board = CallBoard()
        async with asyncio.timeout(1):
            await board.wait_empty()
        board.goodbye()

    run(main())


def test_a_goodbye_ends_every_call_with_its_reason(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            rig.board.goodbye()
            await rig.board.wait_empty()
        return rig

    rig = run(main())
    assert rig.phone.closed[0] == (1001, "the server is going down")
    assert rig.session["end_reason"] == "shutting_down"


def test_one_broken_call_leaves_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosted(tmp_path / "a") as sound, hosted(tmp_path / "b") as other:
            twin = LiveCall("sess_2", "shop", "desk", "realtime", 0.0, other.running)
            assert twin.tenant == "shop"
            await sound.settle()
            sound.running.fault(RuntimeError("ours"))
            await sound.board.wait_empty()
            assert (sound.board.broken, other.board.broken, len(other.board)) == (1, 0, 1)

    run(main())


def test_the_end_is_logged_without_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with hosted(tmp_path) as rig:
            await rig.settle()

    with caplog.at_level(logging.INFO, "gateway.live"):
        run(main())
    (line,) = [record for record in caplog.records if record.name == "gateway.live"]
    assert line.getMessage() == "call ended"
    assert (vars(line)["call_id"], vars(line)["reason"], vars(line)["turns"]) == ("sess_1", "test_over", 0)
