"""What one call adds to the figures: exactly what its record says, once, as soon as it is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from support.calls.call_rig import Rig, hosted, later
from support.shown_figures import shown
from support.virtual import run

from audio.formats import PCM16_24K, AudioFrame
from audio.line_in import LineCounts
from gateway.telemetry.calls import CallFigures, CallLabels, Progress
from gateway.telemetry.figures import Figures
from gateway.tools.functions import FunctionTool, from_function
from sessions.accounts import UNKNOWN_SETUP, Dial, DialCause, LegError, ModelTarget, SetupFacts
from sessions.commands import RequestResponse
from sessions.errors import LegLost, ToolFailed
from sessions.events import (
    AgentAudio,
    CallerAudio,
    CallerTranscribed,
    CallerTurnTaken,
    ModelLost,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
    ResponseWanted,
    SpeechEnded,
    SpeechStarted,
    ToolWanted,
)
from sessions.problems import ModelProblem
from sessions.record import CallSummary, Turn
from sessions.usage import TokenUsage
from sessions.values import Outcome, ResponseRequest

MODEL = "['realtime_inference', 'test', 'model'"
USAGE = TokenUsage(
    input_text=100, input_audio=40, input_cached=30, cached_text=20, output_text=7, output_audio=50, output_reasoning=2
)


def loud(ms: int) -> AudioFrame:
    return AudioFrame(b"\x10\x27" * (24 * ms), PCM16_24K, 0)


async def says(rig: Rig, number: int, ms: int = 400) -> None:
    """The caller speaks and stops, and is transcribed at once."""
    rig.running.from_caller(CallerAudio(loud(20), None))
    rig.model.deliver(SpeechStarted(f"said_{number}", 0, None))
    for _ in range(ms // 20 - 1):
        await later(0.02)
        rig.running.from_caller(CallerAudio(loud(20), None))
    await later(0.2)
    rig.model.deliver(SpeechEnded(f"said_{number}", 0, None))
    rig.model.deliver(CallerTurnTaken(f"said_{number}", None))
    rig.model.deliver(CallerTranscribed(f"said_{number}", "a table for two", True, None))


async def answers(rig: Rig, number: int, ms: int, usage: TokenUsage | None = USAGE) -> None:
    """The model begins to answer after 300 ms, and sends all its speech at once."""
    await later(0.3)
    rig.model.deliver(ResponseStarted(f"resp_{number}", out_of_band=False, metadata=None, wire=None))
    rig.model.deliver(AgentAudio(f"resp_{number}", f"item_{number}", loud(ms), None))
    await later(0.1)
    rig.model.deliver(ResponseEnded(f"resp_{number}", Outcome.COMPLETED, None, usage, None))


def counted(
    folder: Path, main: Callable[[Rig], Coroutine[Any, Any, None]], tools: dict[str, FunctionTool] | None = None
) -> Figures:
    async def whole() -> Figures:
        async with hosted(folder, tools) as rig:
            await rig.settle()
            async with asyncio.timeout(3600):
                await main(rig)
        return rig.figures

    return run(whole())


def test_a_call_with_two_turns_and_an_interruption_gives_exactly_these_figures(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await says(rig, 1)
        await answers(rig, 1, 2000)
        await later(0.4)  # 500 ms of the answer have been heard
        await says(rig, 2)
        await answers(rig, 2, 1000)
        await later(5)

    assert shown(counted(tmp_path, main)) == {
        "patchbay_calls_started_total['desk', 'realtime']": 1,
        "patchbay_calls_ended_total['desk', 'realtime', 'test_over']": 1,
        "patchbay_call_duration_seconds['desk']": (1, 7.36),
        "patchbay_call_setup_seconds['desk', 'realtime']": (1, 0),
        "patchbay_turns_total['desk', 'completed']": 2,
        "patchbay_turn_latency_seconds['desk', 'test/model']": (2, 1.0),
        "patchbay_interruptions_total['desk']": 1,
        "patchbay_interruption_stop_seconds['realtime']": (1, 0),
        "patchbay_audio_seconds_total['caller', 'carried']": 0.8,
        "patchbay_audio_seconds_total['agent', 'carried']": 1.5,
        "patchbay_audio_seconds_total['agent', 'unheard']": 1.5,
        "patchbay_model_dials_total['test/model', 'start', 'ready']": 1,
        "patchbay_model_dial_seconds['test/model']": (1, 0),
        f"gen_ai_client_inference_duration_seconds{MODEL}, '']": (2, 0.2),
        f"gen_ai_client_inference_usage_input_tokens_total{MODEL}, 'text']": 200,
        f"gen_ai_client_inference_usage_input_tokens_total{MODEL}, 'audio']": 80,
        f"gen_ai_client_inference_usage_output_tokens_total{MODEL}, 'text']": 14,
        f"gen_ai_client_inference_usage_output_tokens_total{MODEL}, 'audio']": 100,
        f"gen_ai_client_inference_usage_cache_read_input_tokens_total{MODEL}, 'text']": 40,
        f"gen_ai_client_inference_usage_cache_read_input_tokens_total{MODEL}, 'unknown']": 20,
    }


def test_a_turn_is_counted_when_nothing_of_it_is_awaited_and_only_once(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await says(rig, 1)
        await answers(rig, 1, 1000)
        await later(0.5)
        assert shown(rig.figures, "patchbay_turns", "gen_ai_client_inference_d") == {}  # it is still being heard
        await later(0.5)
        rig.model.deliver(SpeechStarted("said_2", 0, None))
        first = shown(rig.figures, "patchbay_turns", "gen_ai_client_inference_d")
        assert first["patchbay_turns_total['desk', 'completed']"] == 1
        rig.model.deliver(CallerTranscribed("said_1", "a table for three", True, None))
        assert shown(rig.figures, "patchbay_turns", "gen_ai_client_inference_d") == first

    figures = shown(counted(tmp_path, main), "patchbay_turns")
    assert figures == {"patchbay_turns_total['desk', 'completed']": 1, "patchbay_turns_total['desk', 'unanswered']": 1}


def test_a_turn_waits_for_its_late_transcript(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for number in (1, 2):
            rig.model.deliver(SpeechStarted(f"said_{number}", 0, None))
            rig.model.deliver(CallerTurnTaken(f"said_{number}", None))
            await answers(rig, number, 100)
            await later(1)
        assert shown(rig.figures, "patchbay_turns") == {}
        rig.model.deliver(CallerTranscribed("said_1", "late", True, None))
        assert shown(rig.figures, "patchbay_turns") == {"patchbay_turns_total['desk', 'completed']": 1}

    assert shown(counted(tmp_path, main), "patchbay_turns") == {"patchbay_turns_total['desk', 'completed']": 2}


def test_tools_are_counted_by_name_and_kind_of_error(tmp_path: Path) -> None:
    async def quick() -> str:
        """Return soon."""
        await later(0.25)
        return "done"

    async def failing() -> str:
        """Fail."""
        raise ToolFailed("somebody's words", kind="http_error")

    async def endless() -> str:
        """Go on."""
        await later(1000)
        return ""

    async def main(rig: Rig) -> None:
        rig.model.deliver(ResponseStarted("resp_1", out_of_band=False, metadata=None, wire=None))
        for name in ("quick", "failing", "endless"):
            rig.model.deliver(ToolWanted("resp_1", f"item_{name}", f"call_{name}", name, "{}", None))
        rig.model.deliver(ResponseEnded("resp_1", Outcome.COMPLETED, None, None, None))
        await later(1)
        assert rig.running.tools_running == 1

    tools = {one.__name__: from_function(one) for one in (quick, failing, endless)}
    assert shown(counted(tmp_path, main, tools), "gen_ai_execute_tool") == {
        "gen_ai_execute_tool_duration_seconds['quick', '']": (1, 0.25),
        "gen_ai_execute_tool_duration_seconds['failing', 'http_error']": (1, 0),
        "gen_ai_execute_tool_duration_seconds['endless', 'call_ended']": (1, 1),
    }


def test_what_the_calls_end_cuts_off_is_counted_as_cut_off(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await says(rig, 1)
        await later(0.3)
        rig.model.deliver(ResponseStarted("resp_1", out_of_band=False, metadata=None, wire=None))
        await later(2)

    figures = shown(counted(tmp_path, main), "patchbay_turns", "gen_ai")
    assert sum(value for name, value in figures.items() if name.startswith("patchbay_turns")) == 1  # type: ignore[misc]
    (name,) = [name for name in figures if name.startswith("gen_ai_client_inference_duration")]
    assert figures[name] == (1, 2)


def test_dials_are_counted_with_their_cause_and_what_came_of_them(tmp_path: Path) -> None:
    async def whole() -> Figures:
        async with hosted(tmp_path) as rig:
            refusal = LegLost("no", retryable=True)
            refusal.error = LegError.QUOTA
            rig.model.refusals = [refusal]
            await rig.settle()
            # A leg that was ready and is lost later was one dial.
            rig.model.deliver(ModelLost("gone", retryable=True, error=LegError.CLOSED))
            await rig.settle()
        return rig.figures

    assert shown(run(whole()), "patchbay_model_dials") == {
        "patchbay_model_dials_total['test/model', 'start', 'quota']": 1,
        "patchbay_model_dials_total['test/model', 'lost', 'ready']": 1,
    }


def test_errors_of_models_are_counted_by_known_codes(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        for code in ("insufficient_quota", "never_heard_of", "insufficient_quota"):
            rig.model.deliver(ModelRefused("x", "words", None, None, ModelProblem(code, "server_error")))

    assert shown(counted(tmp_path, main), "patchbay_model_errors") == {
        "patchbay_model_errors_total['test/model', 'insufficient_quota']": 2,
        "patchbay_model_errors_total['test/model', 'other']": 1,
    }


def test_a_call_whose_session_another_server_has_taken_is_counted_all_the_same(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.running.drop_record()
        await later(1)

    assert shown(counted(tmp_path, main), "patchbay_calls") == {
        "patchbay_calls_started_total['desk', 'realtime']": 1,
        "patchbay_calls_ended_total['desk', 'realtime', 'test_over']": 1,
    }


def test_the_response_that_the_client_asks_for_has_a_time_to_its_first_sound(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        wanted = ResponseRequest("ask_1", out_of_band=False, metadata=None, say=None, wire=None)
        rig.running.from_caller(ResponseWanted(wanted, None))
        assert any(isinstance(sent, RequestResponse) for sent in rig.model.sent)
        await answers(rig, 1, 100)
        await later(1)

    figures = shown(counted(tmp_path, main), "gen_ai_client_inference_time", "gen_ai_client_inference_duration")
    assert figures == {
        f"gen_ai_client_inference_duration_seconds{MODEL}, '']": (1, 0.4),
        f"gen_ai_client_inference_time_to_first_chunk_seconds{MODEL}]": (1, 0.3),
    }


def progress(summary: CallSummary, *dials: Dial, admission_ms: int = 0) -> Progress:
    return Progress(summary, dials, SetupFacts(admission_ms) if admission_ms else UNKNOWN_SETUP)


def test_sums_are_counted_by_what_they_have_grown_and_money_only_where_it_is_known() -> None:
    figures = Figures()
    call = CallFigures(figures, CallLabels("desk", "twilio", "openai/gpt"))
    dial = Dial(DialCause.START, 0, ModelTarget("openai/gpt-2", "api.example", 443), 0, ready_ms=250)
    last = Dial(DialCause.LOST, 1, ModelTarget("openai/gpt", "api.example", 443), 9000)
    summary = CallSummary(caller_audio_ms=5000, dropped_audio_ms=40, cost_nano=2_000_000, duration_ms=6000)
    call.turn(Turn(0, 0), progress(summary, dial, admission_ms=30))
    summary = CallSummary(
        caller_audio_ms=9000,
        dropped_audio_ms=40,
        cost_nano=5_000_000,
        duration_ms=12_000,
        end_reason="caller_hung_up",
        line=LineCounts(late_ms=40, filled_ms=60, clipped_ms=0),
    )
    call.ended([Turn(0, 0)], progress(summary, dial, last, admission_ms=30))
    assert shown(figures, "patchbay_c", "patchbay_audio", "patchbay_line", "patchbay_model", "patchbay_turns") == {
        "patchbay_calls_ended_total['desk', 'twilio', 'caller_hung_up']": 1,
        "patchbay_call_duration_seconds['desk']": (1, 12),
        "patchbay_call_setup_seconds['desk', 'twilio']": (1, 0.28),
        "patchbay_call_cost_usd['desk', 'openai/gpt']": (1, 0.005),
        "patchbay_cost_usd_total['desk', 'openai/gpt']": 0.005,
        "patchbay_turns_total['desk', 'unanswered']": 1,
        "patchbay_audio_seconds_total['caller', 'carried']": 8.96,
        "patchbay_audio_seconds_total['caller', 'dropped']": 0.04,
        "patchbay_line_frames_total['twilio', 'late']": 2,
        "patchbay_line_frames_total['twilio', 'filled']": 3,
        "patchbay_model_dials_total['openai/gpt-2', 'start', 'ready']": 1,
        "patchbay_model_dials_total['openai/gpt', 'lost', 'call_ended']": 1,
        "patchbay_model_dial_seconds['openai/gpt-2']": (1, 0.25),
    }


def test_a_call_whose_cost_is_not_known_has_none() -> None:
    figures = Figures()
    call = CallFigures(figures, CallLabels("desk", "twilio", "openai/gpt"))
    call.ended([], progress(CallSummary(cost_nano=None, end_reason="over")))
    assert shown(figures, "patchbay_call_cost", "patchbay_cost") == {}


def test_only_what_stops_speech_is_measured_as_an_interruption(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await says(rig, 1)  # nobody is interrupted
        await answers(rig, 1, 300)
        await later(1)
        await says(rig, 2)  # the answer is over
        await answers(rig, 2, 1000)
        await says(rig, 3)

    assert shown(counted(tmp_path, main), "patchbay_interruption") == {
        "patchbay_interruptions_total['desk']": 1,
        "patchbay_interruption_stop_seconds['realtime']": (1, 0),
    }
