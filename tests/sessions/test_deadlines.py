from __future__ import annotations

from support.calls.call_driver import (
    Driver,
    asked,
    begins,
    caller_audio,
    create,
    ends,
    finished,
    heard,
    hears,
    hung_up,
    kinds,
    of,
    saved,
    says,
    sounds,
    typed,
    wants,
    wire,
    writes,
)

from sessions.commands import AddToolOutput, DialModel, EndCall, ResponseGone, StopTool
from sessions.events import ModelPassed, ModelReady
from sessions.responses import ASKED_LIMIT_MS


def ended_at(call: Driver, limit_ms: int) -> int | None:
    """How long the call goes on without events."""
    for waited_ms in range(0, limit_ms + 1, 100):
        if call.call.end_reason is not None:
            return waited_ms
        call.wait(100)
    return None


# ---- limits


def test_a_call_ends_at_its_longest_duration() -> None:
    call = Driver(length_ms=60_000)
    call.speak(1_000)
    assert ended_at(call, 90_000) == 59_000
    assert [(end.reason, end.error_code) for end in of(EndCall, call.commands)] == [("length_limit", None)]


def test_a_silent_call_ends_where_that_is_limited() -> None:
    assert ended_at(Driver(), 600_000) is None
    call = Driver(idle_ms=10_000)
    assert ended_at(call, 60_000) == 10_000
    assert call.call.end_reason == "idle_limit"


def test_silence_counts_from_the_last_sound_above_the_gate() -> None:
    call = Driver(idle_ms=10_000)
    call.speak(3_000)
    call.speak(4_000, loud=False)
    assert ended_at(call, 60_000) == 6_000


def test_silence_counts_from_text_too() -> None:
    call = Driver(idle_ms=10_000)
    call.wait(4_000)
    call(typed())
    assert ended_at(call, 60_000) == 10_000
    call = Driver(idle_ms=10_000)
    call.wait(3_000)
    call(begins(), *writes("Hello."))
    assert ended_at(call, 60_000) == 10_000


def test_silence_counts_from_the_end_of_the_agents_speech_however_early_it_was_made() -> None:
    call = Driver(idle_ms=10_000)
    call(begins(), *says("A long story.", 25_000), ends())
    assert ended_at(call, 90_000) == 35_000


def test_an_agent_that_speaks_on_and_on_is_not_silent() -> None:
    call = Driver(idle_ms=10_000)
    call(begins(), *says("A long story", 100))
    for _ in range(300):
        call(sounds(100))
        call.wait(100)
    assert call.call.end_reason is None


# ---- what never comes


def test_a_response_that_brings_nothing_any_more_costs_its_leg() -> None:
    call = Driver()
    call(begins(), *says("Well", 400))
    assert of(DialModel, call.wait(30_399)) == []
    out = call.wait(1)
    assert [gone.response_id for gone in of(ResponseGone, out)] == ["resp_1"]
    assert len(of(DialModel, out)) == 1
    assert len(asked(call(ModelReady()))) == 1


def test_a_response_that_still_brings_something_is_waited_for() -> None:
    call = Driver()
    call(begins())
    for _ in range(10):
        call.wait(20_000)
        call(ModelPassed(wire("response.function_call_arguments.delta")))
    assert len(of(DialModel, call.commands)) == 1


def test_a_request_that_is_never_answered_costs_its_leg_and_is_asked_of_the_next() -> None:
    call = Driver()
    call(create("mine"))
    assert kinds(call.wait(ASKED_LIMIT_MS)) == ["LegReplaced", "DialModel"]
    assert [request.request_id for request in asked(call(ModelReady()))] == ["mine"]


def test_a_dial_that_nobody_reports_on_is_lost() -> None:
    call = Driver(ready=False)
    assert kinds(call.wait(11_000)) == ["LegReplaced", "DialModel"]
    call.wait(6_000)
    assert call.call.end_reason == "model_lost"


def test_a_caller_who_never_stops_speaking_but_is_inaudible_has_stopped() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), hears(), finished())
    call.speak(2_000)
    assert asked(call.wait(9_900)) == []
    assert len(asked(call.wait(200))) == 1


def test_a_tool_that_nobody_reports_on_is_told_to_the_model_as_such() -> None:
    call = Driver()
    call(begins(), wants("find"), ends())
    out = call.wait(12_000)  # its deadline is 10 s, and its runner has 2 s to report
    assert [stop.call_id for stop in of(StopTool, out)] == ["call_1"]
    assert [told.output for told in of(AddToolOutput, out)] == ["find did not answer in time."]
    assert len(asked(out)) == 1
    assert call(finished()) == []


# ---- the record follows


def test_a_turn_is_written_again_when_its_speech_has_been_heard() -> None:
    call = Driver()
    call(begins(), *says("All of this will be heard.", 3_000))
    assert saved(call(ends())) == [0]
    assert call.item("agent_1").heard_text == ""
    assert saved(call.wait(3_000)) == [0]
    assert call.item("agent_1").heard_text == "All of this will be heard."


def test_a_turn_whose_speech_is_as_good_as_over_with_its_answer_is_written_once() -> None:
    call = Driver()
    call(hears(), heard(), begins(), *says("All of this will be heard.", 2_000))
    call.wait(1_960)
    assert saved(call(ends())) == [0]
    assert call.item("agent_1").heard_text == "All of this will be heard."
    assert saved(call.wait(5_000)) == []


def test_a_caller_who_interrupts_the_last_of_it_has_it_written_again() -> None:
    call = Driver()
    call(hears(), heard(), begins(), *says("All of this will be heard.", 2_000))
    call.wait(1_960)
    call(ends())
    call.wait(10)
    assert saved(call(hears("caller_2"))) == [0]
    assert (call.item("agent_1").heard_ms, call.item("agent_1").heard_text) == (1_970, "All of this will be")


def test_nothing_is_due_in_mid_answer_for_what_the_answer_itself_says() -> None:
    call = Driver()
    call(begins(), *says("First.", 2_000))
    call.wait(1_500)
    call(ends(), begins("resp_2"), sounds(100, "resp_2", "agent_2"))
    call.wait(450)
    for _ in range(100):  # one frame after another, as it is spoken
        call(sounds(100, "resp_2", "agent_2"))
        call.wait(100)
    first, second = call.item("agent_1"), call.item("agent_2")
    assert first.heard_ms == 2_000
    assert second.sent_ms == 200  # as it was at the end of the first; the rest is noted at the end of the second


def test_speech_of_an_answer_that_was_never_begun_is_written_too() -> None:
    call = Driver()
    call(begins(), *says("Well.", 300), ends())
    call.wait(1_000)
    call(sounds(500, "resp_2", "agent_1"))
    assert saved(call.wait(1_000)) == [0]
    assert call.item("agent_1").heard_ms == 800


def test_a_deadline_is_always_there_until_the_end() -> None:
    call = Driver()
    assert call.call.deadline_ms is not None
    call(caller_audio(), hung_up())
    assert call.call.deadline_ms is None
    assert call.call.on_time(call.now_ms + 10_000_000) == []
