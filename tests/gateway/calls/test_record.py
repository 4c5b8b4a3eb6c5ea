"""What is kept of a call while it runs: documents at its beginning, at each turn's end, and at its own."""

from __future__ import annotations

from pathlib import Path

from support.calls.call_rig import Rig, hosted
from support.virtual import run

from audio.formats import PCM16_24K, AudioFrame
from sessions.events import AgentAudio, CallerAudio, ResponseEnded, ResponseStarted, SpeechStarted
from sessions.values import Outcome

FRAME = AudioFrame(b"\x10\x27" * 480, PCM16_24K, 0)


def take_a_turn(rig: Rig, number: int) -> None:
    rig.model.deliver(SpeechStarted(f"said_{number}", 0, None))
    rig.model.deliver(ResponseStarted(f"resp_{number}", out_of_band=False, metadata=None, wire=None))
    rig.model.deliver(AgentAudio(f"resp_{number}", f"item_{number}", FRAME, None))
    rig.model.deliver(ResponseEnded(f"resp_{number}", Outcome.COMPLETED, None, None, None))


def test_the_session_is_live_from_its_first_moment(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            assert [document["type"] for document in rig.saved] == ["session"]
            assert (rig.session["state"], rig.session["ended_at"], rig.session["agent"]) == ("live", None, "desk")
            assert rig.session["owner"] == {"process": "1", "boot": "boot_1", "fence": 1}

    run(main())


def test_each_turn_is_saved_when_it_ends_and_the_session_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            for number in range(3):
                take_a_turn(rig, number)
                turns = {str(document["id"]) for document in rig.saved if document["type"] == "turn"}
                assert len(turns) == number + 1
                assert rig.summary["turns"] == number + 1
                await rig.pass_s(1)

    run(main())


def test_the_end_has_its_reason_and_time(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.pass_s(2.5)
        return rig

    rig = run(main())
    assert (rig.session["state"], rig.session["end_reason"]) == ("ended", "test_over")
    assert float(str(rig.session["ended_at"])) - float(str(rig.session["started_at"])) == 2.5


def test_without_a_recording_no_sound_is_kept_anywhere(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            rig.running.from_caller(CallerAudio(FRAME, None))
            take_a_turn(rig, 1)
        return rig

    rig = run(main())
    assert rig.record.log is None
    assert rig.session["recording"]["state"] == "off"  # type: ignore[index,call-overload]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    rig.record.caller_sound(FRAME, 0)  # late sound goes nowhere
    rig.record.agent_sound(FRAME, "item", 0)


def test_a_recording_is_spooled_and_queued_to_be_made(tmp_path: Path) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path, recording=True) as rig:
            await rig.settle()
            rig.running.from_caller(CallerAudio(FRAME, None))
            take_a_turn(rig, 1)
            await rig.pass_s(0.1)
            assert rig.session["recording"]["state"] == "running"  # type: ignore[index,call-overload]
        await rig.finisher.run_waiting()
        return rig

    rig = run(main())
    assert rig.session["recording"]["state"] == "ready"  # type: ignore[index,call-overload]
    assert [path.name for path in tmp_path.rglob("*.flac")] == ["recording.flac"]
    assert not list(tmp_path.rglob("*.raw"))  # the agent keeps no tracks
