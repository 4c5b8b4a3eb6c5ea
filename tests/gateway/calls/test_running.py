"""One running call: its legs, its jobs, its end; in virtual time, between legs that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.anything import OddError
from support.calls.call_rig import DEADLINE_MS, Rig, hosted, later, turn
from support.virtual import VirtualLoop, run

from audio.formats import PCM16_24K, AudioFrame
from gateway.calls.executor import UNSENT_CHECK_FRAMES
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.functions import FunctionTool, from_function
from sessions.commands import AddToolOutput, CancelResponse, EndCall, Play, SendAudio
from sessions.errors import LegLost
from sessions.events import (
    AgentAudio,
    CallerAudio,
    HungUp,
    ModelLost,
    ModelReady,
    ResponseEnded,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolWanted,
)
from sessions.ports import JsonObject
from sessions.values import Outcome

FRAME = AudioFrame(bytes(960), PCM16_24K, 0)


def answer_begins(rig: Rig, response_id: str = "resp_1") -> None:
    rig.model.deliver(ResponseStarted(response_id, out_of_band=False, metadata=None, wire=None))


def wanted(rig: Rig, name: str, arguments: str = "{}") -> None:
    answer_begins(rig)
    rig.model.deliver(ToolWanted("resp_1", "item_1", "call_1", name, arguments, None))


def tools(*functions: Callable[..., Any]) -> dict[str, FunctionTool]:
    return {function.__name__: from_function(function) for function in functions}


def playing(folder: Path, main: Callable[[Rig], Coroutine[Any, Any, None]], **given: Any) -> Rig:
    """Run a test's steps with a call. Returns the rig after the call has ended."""

    async def whole() -> Rig:
        async with hosted(folder, **given) as rig:
            await rig.settle()
            async with asyncio.timeout(3600):
                await main(rig)
        return rig

    return run(whole())


def test_legs_that_only_do_what_they_must_carry_a_call_with_sound_both_ways(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.running.from_caller(CallerAudio(FRAME, b"as it came"))
        assert rig.model.sent[-1] == SendAudio(FRAME, b"as it came")
        answer_begins(rig)
        rig.model.deliver(AgentAudio("resp_1", "item_1", FRAME, b"as it came"))
        assert rig.phone.told[-1] == Play("resp_1", "item_1", FRAME, b"as it came")

    rig = playing(tmp_path, main)
    assert rig.session["end_reason"] == "test_over"
    assert (rig.model.closed, rig.phone.closed[0][0]) == (1, 1000)


def test_what_comes_before_the_dial_returns_is_not_lost_and_keeps_its_order(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        assert [type(told).__name__ for told in rig.phone.told] == ["Relay", "Play"]

    async def whole() -> None:
        async with hosted(tmp_path) as rig:
            rig.model.early = [
                ModelReady(),
                ResponseStarted("resp_1", out_of_band=False, metadata=None, wire=None),
                AgentAudio("resp_1", "item_1", FRAME, None),
            ]
            await rig.settle()
            await main(rig)

    run(whole())


def test_a_model_that_refuses_for_good_ends_the_call(tmp_path: Path) -> None:
    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            rig.model.refusals = [LegLost("HTTP 401 with the key in it", retryable=False)]
            await rig.live_calls.wait_empty()
        return rig

    rig = run(whole())
    assert rig.session["end_reason"] == "model_lost"
    (end,) = [told for told in rig.phone.told if isinstance(told, EndCall)]
    assert (end.error_code, "key" in end.message) == ("model_lost", False)


def test_a_model_that_is_busy_is_dialled_once_more(tmp_path: Path) -> None:
    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            rig.model.refusals = [LegLost("HTTP 503", retryable=True)]
            await rig.settle()
            assert rig.model.dials == 2
        return rig

    assert run(whole()).summary["redials"] == 1


def test_a_dial_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            rig.model.hangs, rig.model.early = True, []
            begun = rig.clock.now_ms()
            await rig.live_calls.wait_empty()
            assert 10_000 <= rig.clock.now_ms() - begun <= 17_000  # the dial, and one more
        return rig

    rig = run(whole())
    assert (rig.model.given_up, rig.session["end_reason"]) == (rig.model.dials, "model_lost")


def test_a_dial_under_way_is_cancelled_when_the_caller_hangs_up(tmp_path: Path) -> None:
    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            rig.model.hangs, rig.model.early = True, []
            await rig.settle()
            rig.running.from_caller(HungUp("caller_hung_up"))
            await rig.live_calls.wait_empty()
        return rig

    rig = run(whole())
    assert (rig.model.given_up, rig.session["end_reason"]) == (1, "caller_hung_up")


def test_a_leg_that_was_given_up_goes_on_talking_to_nobody(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        first = rig.model.deliver
        first(ModelLost("the line broke", retryable=True))
        await rig.settle()
        assert rig.model.dials == 2
        before = len(rig.phone.told)
        first(ResponseStarted("resp_9", out_of_band=False, metadata=None, wire=None))
        first(ModelLost("again", retryable=False))
        assert len(rig.phone.told) == before
        assert len(rig.live_calls) == 1

    playing(tmp_path, main)


def test_a_fault_ends_this_call_loudly(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.phone.breaks = True
        answer_begins(rig)
        await rig.live_calls.wait_empty()

    rig = playing(tmp_path, main)
    assert rig.live_calls.broken == 1
    assert rig.session["end_reason"] == "server_fault"
    assert rig.phone.closed[-1] == (1011, "internal error")
    assert rig.model.closed == 1


def test_a_fault_of_the_model_legs_code_ends_it_too(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.model.fault(RuntimeError("broken"))
        await rig.live_calls.wait_empty()

    rig = playing(tmp_path, main)
    assert (rig.live_calls.broken, rig.session["end_reason"]) == (1, "server_fault")


def test_hanging_up_from_outside_says_why(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.running.hang_up("shutting_down", 1001, "the server is going down")
        await rig.live_calls.wait_empty()
        rig.running.hang_up("too late")

    rig = playing(tmp_path, main)
    assert rig.phone.closed[0] == (1001, "the server is going down")
    assert rig.session["end_reason"] == "shutting_down"


def test_a_tool_runs_beside_and_its_result_reaches_the_model(tmp_path: Path) -> None:
    async def slow(city: str) -> str:
        """The weather, later."""
        await later(1)
        return f"sunny in {city}"

    async def main(rig: Rig) -> None:
        wanted(rig, "slow", '{"city": "Bath"}')
        rig.running.from_caller(CallerAudio(FRAME, None))  # sound does not wait for the tool
        assert isinstance(rig.model.sent[-1], SendAudio)
        await rig.pass_s(1.1)
        assert AddToolOutput("call_1", "sunny in Bath", None) in rig.model.sent

    playing(tmp_path, main, tools=tools(slow))


def test_a_tool_that_fails_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    async def hangs() -> str:
        """Never comes back."""
        await asyncio.Event().wait()
        return ""

    async def main(rig: Rig) -> None:
        wanted(rig, "hangs")
        await rig.pass_s(DEADLINE_MS / 1000 + 0.5)
        (output,) = [sent.output for sent in rig.model.sent if isinstance(sent, AddToolOutput)]
        assert '"error"' in output
        assert len(rig.live_calls) == 1

    rig = playing(tmp_path, main, tools=tools(hangs))
    assert rig.live_calls.broken == 0


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError, RecursionError, TypeError, OddError])
def test_a_tool_that_raises_anything_fails_and_the_call_goes_on(
    tmp_path: Path, raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(arguments: JsonObject, context: ToolContext) -> ToolResult:
        raise raised

    async def main(rig: Rig) -> None:
        wanted(rig, "broken")
        await rig.settle()
        assert AddToolOutput("call_1", '{"error":"That did not work."}', None) in rig.model.sent
        assert len(rig.live_calls) == 1

    rig = playing(tmp_path, main, tools={"broken": FunctionTool("broken", "Breaks.", {}, broken)})
    assert rig.session["end_reason"] == "test_over"
    (line,) = [record for record in caplog.records if record.message == "a tool failed"]
    assert (line.__dict__["tool"], line.__dict__["kind"]) == ("broken", raised.__name__)


def test_a_tool_that_will_not_stop_holds_neither_its_deadline_nor_the_calls_end(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def stubborn() -> str:
        """Never ends."""
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return ""

    async def main(rig: Rig) -> None:
        wanted(rig, "stubborn")
        await rig.pass_s(DEADLINE_MS / 1000 + 0.5)
        (output,) = [sent.output for sent in rig.model.sent if isinstance(sent, AddToolOutput)]
        assert "too long" in output
        begun = rig.clock.now_ms()
        rig.running.from_caller(HungUp("caller_hung_up"))
        await rig.live_calls.wait_empty()
        assert rig.clock.now_ms() - begun < 100
        release.set()
        await rig.settle()

    assert playing(tmp_path, main, tools=tools(stubborn)).session["end_reason"] == "caller_hung_up"


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError, RecursionError, TypeError, OddError])
def test_whatever_breaks_a_call_ends_it_with_1011_and_a_reason(
    tmp_path: Path, raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def main(rig: Rig) -> None:
        try:
            raise raised
        except raised as fault:
            rig.model.fault(fault)
        await rig.live_calls.wait_empty()

    rig = playing(tmp_path, main)
    assert rig.session["end_reason"] == "server_fault"
    assert rig.phone.closed[0] == (1011, "internal error")
    (line,) = [record for record in caplog.records if record.message == "call broke"]
    assert line.__dict__["kind"] == raised.__name__
    assert "test_running.py:" in line.__dict__["place"]


def test_a_record_that_cannot_be_ended_does_not_keep_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig) -> None:
        async def broken(*given: object) -> None:
            raise SystemExit

        rig.record.ended = broken  # type: ignore[method-assign]
        rig.running.from_caller(HungUp("caller_hung_up"))
        await rig.live_calls.wait_empty()

    playing(tmp_path, main)
    assert "the end of a call could not be recorded" in caplog.messages


def test_a_call_that_is_cut_says_so(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.live_calls.close(1.0)
        await rig.live_calls.wait_empty()

    rig = playing(tmp_path, main)
    assert rig.phone.closed[0] == (1001, "the server is going down")
    assert rig.session["end_reason"] == "shutting_down"


def test_tools_stop_when_the_call_ends(tmp_path: Path) -> None:
    stopped: list[str] = []

    async def waits() -> str:
        """Waits."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("stopped")
        return ""

    async def main(rig: Rig) -> None:
        wanted(rig, "waits")
        await rig.settle()
        rig.running.from_caller(HungUp("caller_hung_up"))
        await rig.live_calls.wait_empty()

    playing(tmp_path, main, tools=tools(waits))
    assert stopped == ["stopped"]


def test_too_much_unsent_cancels_the_response_once(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        answer_begins(rig)
        rig.phone.overfull = True
        for number in range(3 * UNSENT_CHECK_FRAMES):
            frame = AudioFrame(bytes(960), PCM16_24K, 480 * number)
            rig.model.deliver(AgentAudio("resp_1", "item_1", frame, None))
        cancelled = [sent for sent in rig.model.sent if isinstance(sent, CancelResponse)]
        assert cancelled == [CancelResponse("resp_1", None)]

    playing(tmp_path, main)


def test_speech_that_a_model_takes_long_to_make_begins_when_it_is_sent(tmp_path: Path) -> None:
    """A model in this process makes its sound inside `send`, which takes time, and delivers it afterwards."""

    async def main(rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        send = rig.model.send

        def answers_at_once(command: Any) -> None:
            send(command)
            if isinstance(command, SendAudio) and not rig.phone.told:
                loop.jump(0.016)
                loop.call_soon(answer_begins, rig)
                loop.call_soon(rig.model.deliver, AgentAudio("resp_1", "item_1", FRAME, None))

        rig.model.send = answers_at_once  # type: ignore[method-assign]
        asked_ms = rig.clock.now_ms()
        rig.running.from_caller(CallerAudio(FRAME, None))
        await turn()
        assert [span.begin_ms - asked_ms for span in rig.running.call.played(rig.clock.now_ms())] == [16]

    playing(tmp_path, main)


def test_an_alarm_whose_reason_is_gone_asks_nothing_of_the_call(tmp_path: Path) -> None:
    """A model that answers by itself has 1.5 s to begin. It has begun, and the alarm rings during its answer."""

    async def main(rig: Rig) -> None:
        rig.model.deliver(SpeechStarted("item_1", 0, None))
        rig.model.deliver(SpeechEnded("item_1", 0, None))
        answer_begins(rig)
        asked = rig.running.call.deadline_ms
        assert asked is not None
        await rig.pass_s(2)
        assert rig.running.call.deadline_ms == asked
        await rig.pass_s((asked - rig.clock.now_ms()) / 1000 + 1)
        assert rig.model.dials == 2  # it stalled, and that was noticed in time

    playing(tmp_path, main)


def test_limits_are_kept_by_the_clock(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.live_calls.wait_empty()

    rig = playing(tmp_path, main)
    assert (rig.session["end_reason"], rig.summary["duration_ms"]) == ("length_limit", 600_000)


@pytest.mark.parametrize("recording", [False, True])
def test_the_end_is_written_once_and_last(tmp_path: Path, recording: bool) -> None:
    async def main(rig: Rig) -> None:
        rig.running.from_caller(CallerAudio(FRAME, None))
        answer_begins(rig)
        rig.model.deliver(ResponseEnded("resp_1", Outcome.COMPLETED, None, None, None))

    rig = playing(tmp_path, main, recording=recording)
    states = [document["state"] for document in rig.saved if document["type"] == "session"]
    assert states.count("ended") == 1
    assert states[-1] == "ended"
    assert rig.finisher.waiting == int(recording)
