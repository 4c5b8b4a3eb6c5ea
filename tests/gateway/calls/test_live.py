"""Live calls are counted by tenant, waited for and told goodbye, and each ends alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from support.calls.call_rig import Rig, hosted
from support.virtual import run

from audio.formats import PCM16_24K, AudioFrame
from gateway.calls.live import LiveCall, LiveCalls
from sessions.events import CallerAudio
from sessions.stores.contract import SessionKey


def test_a_call_is_found_while_it_runs(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            live_calls = rig.live_calls
            assert (len(live_calls), live_calls.count_of("default"), live_calls.count_of("other")) == (1, 1, 0)
            assert live_calls.of("default") == [rig.live]
            assert live_calls.of("other") == []
            assert live_calls.find("default", "sess_1") is rig.live
            assert live_calls.find("other", "sess_1") is None
            assert live_calls.find("default", "sess_2") is None
        return rig

    rig = run(main())
    assert (len(rig.live_calls), rig.live_calls.count_of("default"), rig.live_calls.served, rig.live_calls.broken) == (
        0,
        0,
        1,
        0,
    )
    assert rig.live_calls.find("default", "sess_1") is None


def test_where_no_call_is_live_nothing_is_waited_for() -> None:
    async def main() -> None:
        live_calls = LiveCalls()
        async with asyncio.timeout(1):
            await live_calls.wait_empty()
        live_calls.goodbye()

    run(main())


def test_a_goodbye_ends_every_call_with_its_reason(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            rig.live_calls.goodbye()
            await rig.live_calls.wait_empty()
        return rig

    rig = run(main())
    assert rig.phone.closed[0] == (1001, "the server is going down")
    assert rig.session["end_reason"] == "shutting_down"


def test_a_call_that_begins_after_the_goodbye_ends_at_once(tmp_path: Path) -> None:
    async def main() -> Rig:
        rig = Rig(tmp_path, {}, recording=False)
        rig.live_calls.goodbye()
        rig.live_calls.start(rig.live)
        await rig.live_calls.wait_empty()
        return rig

    rig = run(main())
    assert rig.phone.closed[0] == (1001, "the server is going down")
    assert (rig.session["end_reason"], rig.session["state"], rig.model.dials) == ("shutting_down", "ended", 0)


@pytest.mark.parametrize("recording", [True, False])
def test_a_call_whose_session_was_taken_ends_without_another_word_in_its_record(
    tmp_path: Path, recording: bool
) -> None:
    async def main() -> None:
        async with hosted(tmp_path, recording=recording) as rig:
            await rig.settle()
            rig.running.from_caller(CallerAudio(AudioFrame(b"\x10\x27" * 480, PCM16_24K, 0), None))
            saved = len(rig.saved)
            rig.live_calls.end_fenced(SessionKey("other", "sess_1"))
            assert rig.phone.closed == []
            rig.live_calls.end_fenced(SessionKey("default", "sess_1"))
            await rig.live_calls.wait_empty()
            assert rig.phone.closed[0] == (1011, "another server has taken this call over")
            assert rig.running.call.summary(0).end_reason == "fenced"
            assert len(rig.saved) == saved
            rig.live_calls.end_fenced(SessionKey("default", "sess_1"))
            assert rig.finisher.waiting == 0
            spooled = [path.name for path in tmp_path.rglob("*") if path.is_file()]
            assert ("caller.raw" in spooled) == recording  # the next start makes the recording of it

    run(main())


def test_one_broken_call_leaves_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosted(tmp_path / "a") as sound, hosted(tmp_path / "b") as other:
            twin = LiveCall("sess_2", "shop", "desk", "realtime", 0.0, other.running)
            assert twin.tenant == "shop"
            await sound.settle()
            sound.running.fault(RuntimeError("ours"))
            await sound.live_calls.wait_empty()
            assert (sound.live_calls.broken, other.live_calls.broken, len(other.live_calls)) == (1, 0, 1)

    run(main())


def test_a_call_logs_its_start_and_its_end_without_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with hosted(tmp_path) as rig:
            await rig.settle()

    with caplog.at_level(logging.INFO, "gateway.calls.live"):
        run(main())
    started, line = [record for record in caplog.records if record.name == "gateway.calls.live"]
    assert (started.getMessage(), vars(started)["call_id"]) == ("call started", "sess_1")
    assert line.getMessage() == "call ended"
    assert (vars(line)["call_id"], vars(line)["reason"], vars(line)["turns"]) == ("sess_1", "test_over", 0)
