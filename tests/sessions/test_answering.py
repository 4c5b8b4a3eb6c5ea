from __future__ import annotations

from dataclasses import replace

from support.calls.call_driver import (
    Driver,
    answered,
    asked,
    begins,
    cancel,
    create,
    ends,
    finished,
    heard,
    hears,
    item,
    kinds,
    model_setup,
    of,
    refuses,
    saved,
    says,
    sounds,
    takes,
    typed,
    wants,
)

from sessions.answering import RACE_RETRY_MS, RETRY_MS
from sessions.commands import AddToolOutput, Refuse, Relay, RequestResponse, RunTool
from sessions.events import ModelReady, SettingsChanged
from sessions.pending_responses import MAX_WAITING
from sessions.values import Outcome

# ---- one response at a time


def test_a_client_that_asks_while_an_answer_runs_is_refused() -> None:
    call = Driver()
    call(begins())
    out = call(create("again"))
    assert asked(out) == []
    assert [(no.code, no.event_id) for no in of(Refuse, out)] == [("conversation_already_has_active_response", "again")]


def test_a_client_that_asks_twice_is_refused_the_second_time() -> None:
    call = Driver()
    assert len(asked(call(create("one")))) == 1
    assert [no.event_id for no in of(Refuse, call(create("two")))] == ["two"]


def test_an_answer_out_of_band_waits_for_nobody() -> None:
    call = Driver()
    call(begins())
    assert [request.request_id for request in asked(call(create("beside", out_of_band=True)))] == ["beside"]


def test_a_client_request_that_crossed_the_models_own_answer_is_asked_again_after_it() -> None:
    call = Driver()
    call(hears(), heard(), create("mine"))
    call(begins("own"), refuses("mine"))
    assert not of(Refuse, call.commands)
    assert [request.request_id for request in asked(call(ends("own")))] == ["mine"]


def test_a_crossing_is_understood_even_if_the_refusal_does_not_say_what_it_is_about() -> None:
    call = Driver()
    call(create("mine"), begins("own"), refuses(None))
    assert [request.request_id for request in asked(call(ends("own")))] == ["mine"]


def test_a_refusal_that_comes_after_the_crossing_answer_puts_the_request_back_too() -> None:
    call = Driver()
    call(create("mine"), begins("own"), ends("own"))
    assert [request.request_id for request in asked(call(refuses("mine")))] == ["mine"]


def test_a_refusal_for_an_answer_that_we_know_nothing_of_is_not_answered_in_a_tight_loop() -> None:
    call = Driver()
    call(create("mine"))
    assert asked(call(refuses("mine"))) == []
    assert asked(call.wait(RACE_RETRY_MS - 1)) == []
    assert len(asked(call.wait(1))) == 1


def test_another_refusal_of_a_clients_request_goes_to_the_client() -> None:
    call = Driver()
    call(create("mine"))
    out = call(refuses("mine", "invalid_value"))
    assert kinds(out) == []
    assert len(of(Relay, out)) == 1
    assert len(asked(call(create("next")))) == 1


def test_a_refusal_by_a_name_that_the_client_never_gave_is_put_in_our_words() -> None:
    call = Driver()
    nameless = create("pb_5")
    call(replace(nameless, client_event_id=None))
    out = call(refuses("pb_5", "invalid_value"))
    assert of(Refuse, out) == [Refuse("invalid_value", "no", None)]


def test_a_line_of_requests_has_an_end() -> None:
    call = Driver(ready=False)
    for n in range(MAX_WAITING):
        assert call(create(f"c{n}")) == []
    assert [no.code for no in of(Refuse, call(create("one_too_many")))] == ["rate_limit_exceeded"]


def test_a_request_that_still_waits_can_be_cancelled_and_its_client_is_told() -> None:
    call = Driver(ready=False)
    call(create("mine"))
    assert [(no.code, no.event_id) for no in of(Refuse, call(cancel()))] == [("response_cancelled", "mine")]
    assert [no.code for no in of(Refuse, call(cancel()))] == ["response_cancel_not_active"]


def test_a_response_told_twice_is_one_response() -> None:
    call = Driver()
    call(create("mine"), begins("r"))
    assert call(begins("r")) == []
    call(ends("r"))
    assert call(ends("r")) == []
    assert call(begins("r")) == []
    assert len(asked(call(create("next")))) == 1


# ---- results of tools


def test_a_tool_runs_once_and_its_result_is_spoken_once_with_the_metadata_of_its_question() -> None:
    call = Driver()
    call(create(metadata={"topic": "tables"}), begins(metadata={"topic": "tables"}))
    assert [run.name for run in of(RunTool, call(wants("find")))] == ["find"]
    assert call(wants("find")) == []
    call(ends())
    out = call(finished())
    assert [(told.call_id, told.output) for told in of(AddToolOutput, out)] == [("call_1", "done")]
    assert [request.metadata for request in asked(out)] == [{"topic": "tables"}]
    assert call(finished()) == []


def test_several_tools_of_one_answer_are_followed_up_together() -> None:
    call = Driver()
    call(begins(), wants("find", "a"), wants("book", "b"), ends())
    assert asked(call(finished("b"))) == []
    assert len(asked(call(finished("a")))) == 1


def test_a_tool_that_is_quicker_than_its_answer_waits_for_the_end_of_it() -> None:
    call = Driver()
    call(begins(), wants("find"))
    assert asked(call(finished())) == []
    assert len(asked(call(ends()))) == 1


def test_with_a_client_function_in_the_same_answer_the_client_asks_and_is_held_until_all_results_are_in() -> None:
    call = Driver()
    call(begins(), wants("find", "ours"), wants("on_screen", "theirs"), ends())
    assert asked(call(answered("theirs"), create("mine"))) == []
    out = call(finished("ours"))
    assert kinds(out)[:1] == ["AddToolOutput"]
    assert [request.request_id for request in asked(out)] == ["mine"]


def test_with_a_client_function_in_the_same_answer_nothing_is_asked_on_our_own() -> None:
    call = Driver()
    call(begins(), wants("find", "ours"), wants("on_screen", "theirs"), ends(), finished("ours"), answered("theirs"))
    call.wait(60_000)
    assert asked(call.commands) == []


def test_a_request_behind_running_tools_waits_its_turn() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), create("mine"))
    first = asked(call(finished()))
    assert [request.wire for request in first] == [None]
    call(begins("follow_up"))
    assert [request.request_id for request in asked(call(ends("follow_up")))] == ["mine"]


def test_results_that_the_models_own_answer_knew_are_not_spoken_twice() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), hears(), finished(), takes(), heard())
    call(begins("own"), ends("own"))
    call.wait(5_000)
    assert asked(call.commands) == []


def test_results_that_the_models_own_answer_cannot_have_known_are_spoken_after_it() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), hears(), heard(), begins("own"))
    call(finished(), takes())
    assert len(asked(call(ends("own")))) == 1


def test_a_result_that_comes_while_a_follow_up_is_asked_for_has_a_follow_up_of_its_own() -> None:
    call = Driver()
    call(begins("r1"), wants("find", "a", "r1"), ends("r1"), hears(), heard(), begins("r2"), wants("book", "b", "r2"))
    call(ends("r2"))
    assert len(asked(call(finished("a")))) == 1
    call(finished("b"), begins("about_a"))
    assert len(asked(call(ends("about_a")))) == 1


def test_nothing_of_ours_is_asked_while_the_caller_speaks_or_the_model_is_about_to_answer() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), hears())
    assert asked(call(finished())) == []
    assert asked(call(heard())) == []
    assert asked(call.wait(1_499)) == []
    assert len(asked(call.wait(1))) == 1  # the model chose not to answer


def test_a_model_that_does_not_answer_by_itself_is_asked_as_soon_as_the_caller_stops() -> None:
    call = Driver(setup=model_setup(answers=False))
    call(begins(), wants("find"), ends(), hears(), finished())
    assert len(asked(call(heard()))) == 1


def test_a_follow_up_that_would_speak_over_the_caller_is_stopped_and_asked_again() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished(), hears())
    assert "CancelResponse" in kinds(call(begins("follow_up")))
    call(item("follow_up", "late"), sounds(100, "follow_up", "late"), ends("follow_up", Outcome.CANCELLED), heard())
    assert call.said == [("find", "done"), ("caller", "")]
    assert len(asked(call.wait(1_500))) == 1


def test_a_race_lost_by_a_follow_up_that_is_no_longer_needed_ends_there() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished(), takes())
    first = asked(call.commands)[0]
    call(begins("own"), refuses(first.request_id), ends("own"))
    call.wait(5_000)
    assert len(asked(call.commands)) == 1


def test_a_race_lost_by_a_follow_up_that_is_still_needed_is_run_again_under_a_new_name() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished())
    first = asked(call.commands)[0]
    call(begins("own"), refuses(first.request_id), takes())
    second = asked(call(ends("own")))
    assert len(second) == 1
    assert second[0].request_id != first.request_id


def test_a_follow_up_that_fails_is_tried_once_more_so_that_a_tool_is_not_followed_by_silence() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished(), begins("r2"), ends("r2", Outcome.FAILED))
    assert len(asked(call.wait(RETRY_MS))) == 1
    call(begins("r3"), ends("r3", Outcome.FAILED))
    assert asked(call.wait(60_000)) == []


def test_a_refused_follow_up_is_tried_once_more() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished())
    call(refuses(asked(call.commands)[0].request_id, "server_error"))
    assert len(asked(call.wait(RETRY_MS))) == 1


def test_a_caller_by_phone_is_answered_even_if_the_models_first_attempt_fails() -> None:
    phone, client = Driver(client_plays=False), Driver()
    for call in (phone, client):
        call(hears(), heard(), begins(), ends(outcome=Outcome.FAILED))
        call.wait(RETRY_MS)
    assert len(asked(phone.commands)) == 1
    assert len(asked(client.commands)) == 0  # it saw the failure, and may ask again


def test_an_answer_that_failed_in_mid_sentence_is_not_begun_again() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), *says("Well", 200), ends(outcome=Outcome.FAILED))
    assert asked(call.wait(10_000)) == []


def test_a_tool_called_beside_the_conversation_is_not_run() -> None:
    call = Driver()
    call(begins("side", out_of_band=True))
    assert kinds(call(wants("find", response_id="side"))) == []
    assert call.call.turns == []


def test_a_tool_wanted_after_its_answer_ended_is_followed_up_all_the_same() -> None:
    call = Driver()
    call(begins(), ends(), wants("find"))
    assert len(asked(call(finished()))) == 1


def test_a_client_function_wanted_after_its_answer_ended_does_not_keep_later_turns_open() -> None:
    call = Driver()
    call(begins(), ends(), wants("on_screen"), hears(), heard(), begins("r2"))
    assert saved(call(ends("r2"))) == [1]


# ---- the greeting


def greeting(call: Driver) -> list[str | None]:
    return [command.request.say for command in of(RequestResponse, call.commands)]


def test_a_greeting_waits_half_a_second_for_the_clients_settings() -> None:
    call = Driver(greeting="Hello!")
    call.wait(499)
    assert greeting(call) == []
    call.wait(1)
    assert greeting(call) == ["Hello!"]


def test_a_greeting_is_said_as_soon_as_the_clients_settings_have_come() -> None:
    call = Driver(greeting="Hello!")
    call.wait(100)
    assert kinds(call(SettingsChanged(model_setup()))) == ["Configure"]
    call.wait(0)
    assert greeting(call) == ["Hello!"]
    call(SettingsChanged(model_setup()))
    call.wait(5_000)
    assert greeting(call) == ["Hello!"]


def test_a_greeting_waits_for_a_model_that_is_slow_to_connect() -> None:
    call = Driver(greeting="Hello!", ready=False)
    call.wait(2_000)
    assert greeting(call) == []
    call(ModelReady())
    call.wait(0)
    assert greeting(call) == ["Hello!"]


def test_a_greeting_is_dropped_when_the_caller_is_first() -> None:
    for first in (hears(), typed(), create()):
        call = Driver(greeting="Hello!")
        call(first)
        call.wait(5_000)
        assert "Hello!" not in greeting(call)


def test_a_greeting_that_crossed_an_answer_is_not_said_after_it() -> None:
    call = Driver(greeting="Hello!")
    call.wait(500)
    call(begins("own"), refuses(asked(call.commands)[0].request_id), ends("own"))
    call.wait(5_000)
    assert greeting(call) == ["Hello!"]


def test_a_greeting_that_still_waits_when_an_answer_begins_is_dropped() -> None:
    call = Driver(greeting="Hello!")
    call.wait(500)
    call(refuses(asked(call.commands)[0].request_id), begins("own"), ends("own"))
    call.wait(5_000)
    assert greeting(call) == ["Hello!"]
