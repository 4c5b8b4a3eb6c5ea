"""A call whose budget is used up. Its model costs one nano-dollar for each token of text that it writes."""

from __future__ import annotations

from typing import Any

import pytest
from support.calls.call_driver import (
    Driver,
    asked,
    begins,
    create,
    ends,
    finished,
    heard,
    hears,
    kinds,
    lost,
    model_setup,
    of,
    refuses,
    says,
    transcript,
    typed,
    wants,
)
from support.calls.paid import PaidPrices

from sessions.accounts import ModelTarget, ResponseOrigin
from sessions.budget import BUDGET_REACHED, HEARD_LIMIT_MS
from sessions.commands import (
    AddToolOutput,
    CancelResponse,
    Command,
    Configure,
    EndCall,
    NoteBudget,
    Refuse,
    Relay,
    RunTool,
)
from sessions.ending import PLAYED_OUT_MS
from sessions.events import ModelReady, SettingsChanged
from sessions.setup import ModelSetup, TurnPolicy
from sessions.usage import TokenUsage, TranscriptionUsage
from sessions.values import Outcome

GOODBYE = "We have to stop here. Goodbye."
LIMIT = 1000  # nano-dollars


class Purse:
    """A tenant's budget, beside the call's own."""

    def __init__(self, most_nano: int) -> None:
        self.most_nano = most_nano
        self.questions: list[int] = []

    def may_begin(self, spent_nano: int) -> bool:
        self.questions.append(spent_nano)
        return spent_nano < self.most_nano


def budgeted(*, model: str = "test/tokens", **changes: Any) -> Driver:
    """A call with a budget, whose model takes turns by itself."""
    rules: dict[str, Any] = {"pricing": PaidPrices(), "cost_nano": LIMIT, "budget_goodbye": GOODBYE}
    return Driver(target=ModelTarget(model), **{**rules, **changes})


def spends(nano: int, response_id: str = "resp_1", outcome: Outcome = Outcome.COMPLETED) -> Any:
    """A response ends that has cost so much."""
    return ends(response_id, outcome, TokenUsage(output_text=nano))


def noted(commands: list[Command]) -> list[tuple[int, int]]:
    return [(note.percent, note.spent_nano) for note in of(NoteBudget, commands)]


def ended(call: Driver) -> str | None:
    return call.call.end_reason


def test_at_80_percent_an_event_is_noted_once_and_the_call_goes_on() -> None:
    call = budgeted()
    assert noted(call(begins(), spends(799))) == []
    assert noted(call(begins("resp_2"), spends(1, "resp_2"))) == [(80, 800)]
    assert noted(call(begins("resp_3"), spends(1, "resp_3"))) == []
    assert len(asked(call(create()))) == 1
    assert not any(turn.budget_reached for turn in call.call.turns)


def test_at_100_percent_the_goodbye_is_asked_for_and_heard_and_the_call_ends() -> None:
    call = budgeted()
    out = call(begins(), *says("Of course.", 400), spends(1000))
    assert noted(out) == [(100, 1000)]
    (goodbye,) = asked(out)
    assert (goodbye.say, goodbye.out_of_band, goodbye.wire) == (GOODBYE, False, None)
    assert call.call.turns[-1].budget_reached
    call(begins("bye"), *says(GOODBYE, 2000, "bye", "agent_2"), spends(30, "bye"))
    call.wait(400 + 2000 + PLAYED_OUT_MS - 1)
    assert ended(call) is None
    (end,) = of(EndCall, call.wait(1))
    assert (end.reason, end.error_code) == ("budget", None)
    assert call.said[-1] == ("agent", GOODBYE)
    uses = [use for turn in call.call.turns for use in turn.responses]
    assert [(use.origin, use.cost_nano) for use in uses] == [(ResponseOrigin.MODEL, 1000), (ResponseOrigin.BUDGET, 30)]
    assert call.call.summary(call.now_ms).cost_nano == 1030


def test_a_turn_is_marked_even_if_it_has_ended() -> None:
    call = budgeted()
    call(begins(), *says("Yes.", 100), ends())
    call.wait(1000)
    call(begins("beside", out_of_band=True))
    out = call(spends(1000, "beside"))
    assert call.call.turns[-1].budget_reached
    assert "SaveTurn" in kinds(out)


def test_the_model_is_told_to_take_no_turns_any_more() -> None:
    audio = {"input": {"turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True}}}
    setup = model_setup()
    setup = ModelSetup(
        {"audio": audio, "voice": "x"},
        setup.input_format,
        setup.output_format,
        setup.text_only,
        setup.turn_policy,
        setup.client_tools,
    )
    call = budgeted(setup=setup)
    (configured,) = of(Configure, call(begins(), spends(1000)))
    off = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    assert configured.setup.session == {"audio": {"input": {"turn_detection": off}}, "voice": "x"}
    assert configured.setup.turn_policy is TurnPolicy.CLIENT
    # A client that sets the session anew does not bring its turns back.
    (again,) = of(Configure, call(SettingsChanged(setup)))
    assert again.setup == configured.setup


def test_a_client_that_takes_the_turns_needs_no_new_settings() -> None:
    call = budgeted(setup=model_setup(answers=False, interrupts=False))
    assert not of(Configure, call(begins(), spends(1000)))


def test_an_answer_that_the_model_begins_by_itself_is_cancelled() -> None:
    call = budgeted()
    call(begins(), spends(1000))
    call(begins("bye"), *says(GOODBYE, 500, "bye", "agent_2"), spends(1, "bye"))
    out = call(begins("own"))
    assert [cancel.response_id for cancel in of(CancelResponse, out)] == ["own"]
    assert "Play" not in kinds(call(*says("And another thing", 500, "own", "agent_3")))


def test_an_answer_of_the_models_own_that_the_goodbye_crosses_is_cancelled_and_the_goodbye_asked_for_again() -> None:
    call = budgeted()
    (goodbye,) = asked(call(begins(), spends(1000)))
    out = call(begins("own"), refuses(goodbye.request_id))
    assert [cancel.response_id for cancel in of(CancelResponse, out)] == ["own"]
    (again,) = asked(call(ends("own", Outcome.CANCELLED)))
    assert again.say == GOODBYE


def test_a_caller_who_speaks_does_not_hold_the_goodbye_up_and_does_not_stop_it() -> None:
    call = budgeted(client_plays=False)
    call(begins(), hears(), spends(1000, outcome=Outcome.CANCELLED))
    (goodbye,) = asked(call.commands)
    assert goodbye.say == GOODBYE
    out = call(begins("bye"), *says(GOODBYE, 2000, "bye", "agent_2"), heard(), hears("item_2"))
    assert "ClearPlayback" not in kinds(out)
    assert not of(CancelResponse, out)


def test_a_running_response_is_heard_out_when_a_transcription_uses_the_budget_up() -> None:
    call = budgeted()
    call(hears(), heard(), begins(), spends(990))
    call(hears("item_2"), heard("item_2"), begins("resp_2"), *says("As I said,", 400, "resp_2"))
    event = transcript("item_2")
    out = call(type(event)(event.item_id, event.text, True, None, TranscriptionUsage("t", output_text=10)))
    assert noted(out) == [(100, 1000)]
    assert not asked(out)
    assert not of(CancelResponse, out)
    assert "Play" in kinds(call(*says(" more.", 400, "resp_2")))
    (goodbye,) = asked(call(spends(5, "resp_2")))
    assert goodbye.say == GOODBYE


def test_a_running_response_is_heard_out_however_long_it_is() -> None:
    call = budgeted()
    call(begins("beside", out_of_band=True), begins(), *says("Once", 1000), spends(1000, "beside"))
    for _ in range(60):
        call.wait(1000)
        call(*says(" upon", 1000))
    assert ended(call) is None
    (goodbye,) = asked(call(spends(5)))
    assert goodbye.say == GOODBYE


def test_a_cancelled_response_that_does_not_end_is_not_waited_for() -> None:
    call = budgeted(cost_nano=None, allowance=Purse(0))
    call(begins("own"))
    call.wait(HEARD_LIMIT_MS)
    assert ended(call) == "budget"


def test_what_waits_is_dropped_and_a_client_is_told() -> None:
    call = budgeted(setup=model_setup(answers=False))
    call(create("one"), begins(), wants("find"))
    call(spends(100), create("waits"))  # it waits for the result of the tool
    call(begins("beside", out_of_band=True))
    out = call(spends(900, "beside"))
    assert [(no.code, no.event_id) for no in of(Refuse, out)] == [(BUDGET_REACHED, "waits")]
    assert [request.say for request in asked(out)] == [GOODBYE]


@pytest.mark.parametrize("beside", [False, True])
def test_a_client_that_asks_afterwards_is_refused(beside: bool) -> None:
    call = budgeted()
    call(begins(), spends(1000))
    out = call(create("late", out_of_band=beside))
    assert [(no.code, no.event_id) for no in of(Refuse, out)] == [(BUDGET_REACHED, "late")]
    assert not asked(out)


def test_a_request_that_was_sent_and_has_not_begun_is_cancelled_as_it_begins() -> None:
    call = budgeted(setup=model_setup(answers=False))
    call(create("beside_1", out_of_band=True), begins("beside", out_of_band=True), create("sent"))
    assert not asked(call(spends(1000, "beside")))
    out = call(begins("resp_1"))
    assert [cancel.response_id for cancel in of(CancelResponse, out)] == ["resp_1"]
    (goodbye,) = asked(call(ends("resp_1", Outcome.CANCELLED)))
    assert goodbye.say == GOODBYE


def test_a_request_that_was_sent_and_lost_a_race_is_not_repeated() -> None:
    call = budgeted(setup=model_setup(answers=False))
    call(create("beside_1", out_of_band=True), begins("beside", out_of_band=True), create("sent"))
    call(spends(1000, "beside"))
    out = call(refuses("sent")) + call.wait(1000)
    assert [request.say for request in asked(out)] == [GOODBYE]


def test_tools_that_run_at_100_percent_are_not_asked_about_again() -> None:
    call = budgeted()
    call(begins(), wants("find"))
    out = call(spends(1000))
    assert [request.say for request in asked(out)] == [GOODBYE]
    out = call(finished())
    assert [output.output for output in of(AddToolOutput, out)] == ["done"]
    assert not asked(out)
    call(begins("bye"), *says(GOODBYE, 500, "bye", "agent_2"), ends("bye"))
    call.wait(1000)
    assert ended(call) == "budget"


def test_a_tool_that_is_still_running_is_stopped_at_the_end() -> None:
    call = budgeted()
    call(begins(), wants("find"), spends(1000), begins("bye"), *says(GOODBYE, 500, "bye", "agent_2"), ends("bye"))
    out = call.wait(1000)
    assert kinds(out)[:1] == ["EndCall"]
    assert "StopTool" in kinds(out)


def test_a_tool_that_the_goodbye_calls_is_not_run() -> None:
    call = budgeted()
    call(begins(), spends(1000), begins("bye"))
    out = call(wants("book", response_id="bye"))
    assert not of(RunTool, out)
    assert call.said[-1] == ("book", "The call is about to end; this was not run.")
    out = call(ends("bye"))
    assert not asked(out)
    call.wait(PLAYED_OUT_MS)
    assert ended(call) == "budget"


def test_a_model_that_does_not_say_the_goodbye_is_not_waited_for() -> None:
    call = budgeted()
    call(begins(), spends(1000))
    call.wait(HEARD_LIMIT_MS - 1)
    assert ended(call) is None
    call.wait(1)
    assert ended(call) == "budget"


def test_a_goodbye_that_does_not_end_is_heard_for_ten_seconds() -> None:
    call = budgeted()
    call(begins(), *says("Well,", 3000), spends(1000))
    call.wait(500)
    call(begins("bye"), *says("Once upon a time", 60_000, "bye", "agent_2"))
    call.wait(2500 + HEARD_LIMIT_MS - 1)
    assert ended(call) is None
    call.wait(1)
    assert ended(call) == "budget"
    uses = [use for turn in call.call.turns for use in turn.responses]
    assert len(uses) == 2


def test_a_goodbye_that_ends_and_plays_for_longer_is_cut_too() -> None:
    call = budgeted()
    call(begins(), spends(1000), begins("bye"), *says("Once upon a time", 60_000, "bye", "agent_2"), ends("bye"))
    call.wait(HEARD_LIMIT_MS)
    assert ended(call) == "budget"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.INCOMPLETE])
def test_a_goodbye_that_fails_ends_the_call_all_the_same(outcome: Outcome) -> None:
    call = budgeted()
    call(begins(), spends(1000), begins("bye"))
    assert not asked(call(ends("bye", outcome)))
    call.wait(PLAYED_OUT_MS)
    assert ended(call) == "budget"


def test_a_goodbye_that_is_refused_is_asked_for_once_more_and_then_the_call_ends() -> None:
    call = budgeted()
    (first,) = asked(call(begins(), spends(1000)))
    call(refuses(first.request_id, "server_error"))
    (second,) = asked(call.wait(1500))
    assert second.say == GOODBYE
    call(refuses(second.request_id, "server_error"))
    call.wait(PLAYED_OUT_MS)
    assert ended(call) == "budget"


def test_a_goodbye_whose_leg_is_lost_is_asked_for_on_the_next_one() -> None:
    call = budgeted()
    call(begins(), *says("Yes.", 100), spends(1000), lost())
    (goodbye,) = asked(call(ModelReady()))
    assert goodbye.say == GOODBYE


def test_an_agent_that_is_hanging_up_says_no_second_goodbye() -> None:
    call = budgeted()
    call(begins(), *says("Goodbye!", 500), wants("hang_up"), finished(hang_up=True), spends(400))
    event = transcript("item_1")
    call(hears(), type(event)("item_1", event.text, True, None, TranscriptionUsage("t", output_text=600)))
    assert noted(call.commands)[-1] == (100, 1000)
    assert not asked(call.commands)
    call.wait(1000)
    assert ended(call) == "agent_hung_up"


def test_an_agent_that_says_goodbye_in_the_answer_that_uses_the_budget_up_is_not_asked_for_another() -> None:
    call = budgeted()
    call(begins(), *says("Goodbye!", 500), wants("hang_up"), finished(hang_up=True))
    assert not asked(call(spends(1000)))
    call.wait(500 + PLAYED_OUT_MS)
    assert ended(call) == "budget"


def test_after_a_lost_leg_only_the_goodbye_is_asked_for_again() -> None:
    call = budgeted(client_plays=False)
    call(begins(), spends(1000), begins("bye"), *says("We have", 300, "bye", "agent_2"))
    call.wait(100)
    call(typed(), lost())
    assert [request.say for request in asked(call(ModelReady()))] == [GOODBYE]
    call(begins("bye_2"), *says(GOODBYE, 500, "bye_2", "agent_3"), spends(1, "bye_2"))
    call.wait(200 + 500 + PLAYED_OUT_MS)  # after the rest of the first one
    assert ended(call) == "budget"
    assert call.said[-1] == ("agent", GOODBYE)


def test_a_goodbye_whose_leg_cannot_be_replaced_ends_the_call_by_its_budget() -> None:
    call = budgeted()
    call(begins(), spends(1000), begins("bye"))
    assert [one.error_code for one in of(EndCall, call(lost(retryable=False)))] == [None]
    assert ended(call) == "budget"


def test_a_client_is_not_told_that_its_caller_speaks_over_the_goodbye() -> None:
    call = budgeted()
    call(begins(), spends(1000), begins("bye"), *says(GOODBYE, 2000, "bye", "agent_2"))
    out = call(hears("item_9"), heard("item_9"))
    assert of(Relay, out) == []
    call(spends(1, "bye"))
    call.wait(2000 + PLAYED_OUT_MS)
    assert call.item("agent_2").heard_text == GOODBYE


def test_a_response_that_its_budget_cuts_was_not_interrupted_by_the_caller() -> None:
    call = budgeted(model="test/timed", cost_nano=100)
    call(begins())
    call.wait(12_000)
    assert of(CancelResponse, call.commands)
    call(ends("resp_1", Outcome.CANCELLED, TokenUsage(active_ms=12_000)))
    assert [turn.interrupted for turn in call.call.turns] == [False]


def test_a_call_whose_cost_is_unknown_is_never_ended_by_its_budget() -> None:
    call = budgeted(model="test/nobody_knows")
    for number in range(5):
        call(begins(f"resp_{number}"), spends(10_000, f"resp_{number}"))
    assert noted(call.commands) == []
    assert call.call.summary(call.now_ms).cost_nano is None


def test_what_is_not_reported_does_not_count_but_what_is_known_does() -> None:
    call = budgeted()
    call(begins(), ends(), begins("resp_2"), spends(1000, "resp_2"))
    assert noted(call.commands) == [(100, 1000)]
    assert call.call.summary(call.now_ms).cost_nano is None


def test_a_call_without_a_budget_spends_what_it_likes() -> None:
    call = budgeted(cost_nano=None)
    call(begins(), spends(10**12))
    assert noted(call.commands) == []


# ---- a model that is sold by time


def test_a_response_that_alone_costs_120_percent_is_cut() -> None:
    # 600 nano-dollars a minute: 1,200 are reached after two minutes.
    call = budgeted(model="test/timed", stall_limit_ms=10_000_000)
    call(begins(), *says("A long story", 200_000))
    call.wait(119_999)
    assert not of(CancelResponse, call.commands)
    out = call.wait(1)
    assert [cancel.response_id for cancel in of(CancelResponse, out)] == ["resp_1"]
    assert noted(out) == [(100, 0)]
    (goodbye,) = asked(call(ends(outcome=Outcome.CANCELLED)))
    assert goodbye.say == GOODBYE


def test_a_response_that_ends_in_time_is_not_cut() -> None:
    call = budgeted(model="test/timed")
    call(begins(), *says("Yes.", 100), ends())
    call.wait(1_000)
    assert call.call.deadline_ms == call.now_ms - 1_000 + 3_600_000  # nothing is due but the longest duration
    call.wait(200_000)
    assert not of(CancelResponse, call.commands)
    assert ended(call) is None


# ---- budgets beside the call's own


def test_a_further_limit_is_asked_before_each_response() -> None:
    purse = Purse(500)
    call = budgeted(cost_nano=None, allowance=purse, setup=model_setup(answers=False))
    assert asked(call(create()))
    call(begins(), spends(200))
    assert asked(call(create("two")))
    out = call(begins("resp_2"), spends(300, "resp_2"))
    assert not asked(out)  # the call may go on until the next response is wanted
    out = call(create("three"))
    assert [(no.code, no.event_id) for no in of(Refuse, out)] == [(BUDGET_REACHED, "three")]
    assert [request.say for request in asked(out)] == [GOODBYE]
    assert [(note.percent, note.limit_nano) for note in of(NoteBudget, out)] == [(100, None)]
    assert purse.questions == [0, 200, 500]


def test_a_further_limit_holds_for_answers_of_the_models_own_and_beside_the_conversation() -> None:
    call = budgeted(cost_nano=None, allowance=Purse(0))
    out = call(begins("own"))
    assert [cancel.response_id for cancel in of(CancelResponse, out)] == ["own"]
    assert [request.say for request in asked(call(ends("own", Outcome.CANCELLED)))] == [GOODBYE]
    call = budgeted(cost_nano=None, allowance=Purse(0))
    out = call(create("beside", out_of_band=True))
    assert [no.code for no in of(Refuse, out)] == [BUDGET_REACHED]
    assert [request.say for request in asked(out)] == [GOODBYE]


def test_a_greeting_that_may_not_begin_is_replaced_by_the_goodbye() -> None:
    call = budgeted(cost_nano=None, allowance=Purse(0), greeting="Hello!")
    assert [request.say for request in asked(call.wait(500))] == [GOODBYE]
