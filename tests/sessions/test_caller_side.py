from __future__ import annotations

import pytest
from support.calls.call_driver import (
    Driver,
    answered,
    begins,
    caller_audio,
    cancel,
    create,
    ends,
    finished,
    frame,
    heard,
    hears,
    holds,
    hung_up,
    kinds,
    model_setup,
    of,
    refuses,
    saved,
    says,
    sounds,
    transcript,
    truncated,
    typed,
    wants,
    wire,
    wrote,
    wrote_call,
)

from audio.line_in import LineCounts
from sessions import caller_side
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    ClearSound,
    CommitSound,
    Configure,
    PassToModel,
    Refuse,
    Relay,
    SendAudio,
    TruncateItem,
)
from sessions.events import CallerCleared, CallerCommitted, CallerPassed, HungUp, ModelReady, SettingsChanged
from sessions.line_events import CallerSilence, LineMeasured, SpeechDropped
from sessions.outbox import HELD_COMMANDS
from sessions.record import Heard


def test_caller_sound_goes_to_the_model_as_it_came() -> None:
    call = Driver()
    sent = of(SendAudio, call(caller_audio(20, start_sample=160)))
    assert sent == [SendAudio(frame(20, start_sample=160), None)]


def test_silence_on_the_line_is_for_the_model_only() -> None:
    call, silent = Driver(), CallerSilence(frame(20, start_sample=160))
    assert call(silent) == [SendAudio(silent.frame, None)]
    assert call.call.summary(call.now_ms).caller_audio_ms == 0
    call(caller_audio(20))
    assert call.call.summary(call.now_ms).caller_audio_ms == 20


def test_silence_and_sound_wait_together_for_the_model() -> None:
    call = Driver(ready=False)
    assert call(caller_audio(20), CallerSilence(frame(20, start_sample=160)), caller_audio(20, start_sample=320)) == []
    sent = of(SendAudio, call(ModelReady()))
    assert [command.frame.start_sample for command in sent] == [0, 160, 320]


def test_how_the_line_was_is_in_the_sums_also_where_it_comes_after_the_end() -> None:
    call = Driver()
    assert call.call.summary(call.now_ms).line is None
    assert call(LineMeasured(LineCounts(20, 40, 60))) == []
    assert call.call.summary(call.now_ms).line == LineCounts(20, 40, 60)
    call(HungUp("caller_hung_up"), LineMeasured(LineCounts(80, 40, 60)))
    assert call.call.summary(call.now_ms).line == LineCounts(80, 40, 60)


def test_the_short_way_for_sound_is_the_same_as_the_long_one() -> None:
    short, long = Driver(), Driver()
    for call in (short, long):
        call(begins(), *says("Hello.", 200))
    for n in range(50):
        for call in (short, long):
            call.wait(20)
        short(caller_audio(20, start_sample=n), sounds(40))
        for event in (caller_audio(20, start_sample=n), sounds(40)):
            long.commands += long.call.on_event(event, long.now_ms)
    for call in (short, long):
        call(ends())
    assert short.commands == long.commands
    assert short.call.turns == long.call.turns
    assert short.call.summary(short.now_ms) == long.call.summary(long.now_ms)


def test_a_typed_message_is_a_turn_with_its_pictures() -> None:
    call = Driver()
    out = call(typed("text_1", "What is this?", images=2))
    assert [added.wire.text for added in of(AddItem, out)] == [b"text_1"]
    said = call.item("text_1")
    assert (said.text, said.heard_text, said.images, said.spoken, said.final) == (
        "What is this?",
        "What is this?",
        2,
        False,
        True,
    )


def test_a_message_under_a_name_that_is_taken_does_not_change_the_record() -> None:
    call = Driver()
    call(begins(), *says("Hello.", 100), ends())
    out = call(typed("agent_1", "I am the agent"), typed("t", "first"), typed("t", "second"))
    assert len(of(AddItem, out)) == 3  # the model refuses them to its client
    assert call.said == [("agent", ""), ("caller", "first")]


def test_a_message_that_the_model_refuses_was_not_said() -> None:
    call = Driver()
    call(typed("ghost", "not in the conversation"), typed("t", "first"), holds("t"))
    assert len(of(Relay, call(refuses("create ghost", "invalid_value")))) == 1
    assert call.said == [("caller", "first")]
    assert call(refuses("create ghost", "invalid_value"), refuses("create t", "invalid_value")) != []
    assert call.said == [("caller", "first")]  # which the model has


def test_a_refused_message_leaves_the_turn_and_its_answer() -> None:
    call = Driver()
    call(typed("t", "first"), typed("ghost", "not in the conversation"), begins(), *says("Hello.", 100), ends())
    call.wait(100)
    call(hears())
    assert saved(call(refuses("create ghost", "invalid_value"))) == [0]
    assert call.said == [("caller", "first"), ("agent", "Hello."), ("caller", "")]


def test_a_message_that_there_is_no_room_for_was_not_said() -> None:
    call = Driver(ready=False)
    for n in range(HELD_COMMANDS):
        call(typed(f"t{n}", "x"))
    assert len(of(Refuse, call(typed("late", "one too many")))) == 1
    assert len(call.said) == HELD_COMMANDS


def test_sound_that_is_given_as_a_message_gets_its_words() -> None:
    call = Driver()
    call(typed("clip", "", spoken=True), holds("clip"), begins(), transcript("clip", "a table for two"))
    said = call.item("clip")
    assert (said.spoken, said.text, said.heard_text, said.final) == (True, "a table for two", "a table for two", True)


def test_a_turn_taken_by_hand_is_passed_on() -> None:
    call = Driver()
    commit, clear, retrieve = wire("commit"), wire("clear"), wire("retrieve")
    assert call(CallerCommitted(commit), CallerCleared(clear), CallerPassed(retrieve)) == [
        CommitSound(commit),
        ClearSound(clear),
        PassToModel(retrieve),
    ]


# ---- truncation


def test_what_a_client_reports_is_what_was_heard() -> None:
    call = Driver()
    call(hears(), heard(), begins(), *says("one two three four five", 1_000))
    call.wait(700)
    out = call(truncated("agent_1", 400))
    assert of(TruncateItem, out) == [TruncateItem("agent_1", 400, wire("truncate_1"))]
    said = call.item("agent_1")
    assert (said.sent_ms, said.heard_ms, said.heard, said.heard_text) == (1_000, 400, Heard.REPORTED, "one two")
    assert call.call.turns[0].interrupted
    assert [(span.item_id, span.heard_ms) for span in call.call.played(call.now_ms)] == [("agent_1", 400)]


def test_a_report_is_never_more_than_was_sent() -> None:
    call = Driver()
    call(begins(), *says("one two", 1_000), truncated("agent_1", 5_000))
    assert call.item("agent_1").heard_ms == 1_000
    call(truncated("agent_1", -10))
    assert call.item("agent_1").heard_ms == 0


def test_a_report_that_comes_after_the_turn_ended_is_written() -> None:
    call = Driver()
    call(begins(), *says("one two three", 1_000), ends())
    call.wait(500)
    call(hears())
    assert saved(call(truncated("agent_1", 420))) == [0]
    assert call.item("agent_1").heard == Heard.REPORTED


def test_a_report_about_nothing_we_sent_is_the_models_to_answer() -> None:
    call = Driver()
    assert kinds(call(truncated("nobody", 100))) == ["TruncateItem"]


def test_speech_that_waited_behind_a_truncated_item_was_not_heard() -> None:
    call = Driver()
    call(begins(), *says("one", 1_000), *says("two", 1_000, item_id="agent_2"))
    call.wait(600)
    call(truncated("agent_1", 500), ends())
    call.wait(5_000)
    assert [(call.item(name).heard_ms) for name in ("agent_1", "agent_2")] == [500, 0]


def test_a_report_on_an_answer_long_over_leaves_what_plays_now() -> None:
    call = Driver()
    call(begins(), *says("one", 300), ends())
    call.wait(2_000)
    call(create(), begins("resp_2"), *says("two", 6_000, "resp_2", "agent_2"), ends("resp_2"))
    call.wait(1_000)
    call(truncated("agent_1", 100))
    call.wait(6_000)
    assert [call.item(name).heard_ms for name in ("agent_1", "agent_2")] == [100, 6_000]


def test_a_late_report_leaves_the_next_answer_alone() -> None:
    call = Driver()
    call(begins(), *says("one", 1_000), ends())
    call.wait(500)
    call(hears(), heard(), begins("resp_2"), *says("two", 1_000, "resp_2", "agent_2"), ends("resp_2"))
    call.wait(300)
    call(truncated("agent_1", 450))
    call.wait(1_000)
    assert [call.item(name).heard_ms for name in ("agent_1", "agent_2")] == [450, 1_000]


# ---- cancelling, answering, settings


def test_a_cancel_is_for_the_model() -> None:
    call = Driver()
    assert of(CancelResponse, call(cancel())) == [CancelResponse(None, wire("cancel_1"))]
    call(begins())
    assert of(CancelResponse, call(cancel("resp_1"))) == [CancelResponse("resp_1", wire("cancel_1"))]


def test_a_request_held_behind_tools_can_be_cancelled() -> None:
    call = Driver()
    call(begins(), wants("find"), wants("on_screen", "theirs"), ends(), create("mine"))
    assert [(no.code, no.event_id) for no in of(Refuse, call(cancel()))] == [("response_cancelled", "mine")]
    call(finished(), answered("theirs"))
    call.wait(5_000)
    assert "RequestResponse" not in kinds(call.commands)


def test_a_client_cannot_give_the_result_of_a_tool_that_runs_here() -> None:
    call = Driver()
    call(begins(), wants("find"), ends())
    assert kinds(call(answered("call_1", "all tables are free"))) == ["Refuse"]
    call(finished(output="no table is free"))
    assert ("find", "no table is free") in call.said


def test_the_result_of_a_clients_function_is_in_the_record() -> None:
    call = Driver()
    call(begins(), wants("on_screen"), ends())
    assert saved(call.commands) == []  # the turn goes on
    assert [told.wire.text for told in of(AddToolOutput, call(answered("call_1", "shown")))] == [b"output:call_1"]
    call(create(), begins("r2"), ends("r2"))
    assert ("on_screen", "shown") in call.said
    assert saved(call.commands) == [0]


def test_a_client_that_never_answers_does_not_keep_the_turn_open_for_ever() -> None:
    call = Driver()
    call(begins(), wants("on_screen"), ends())
    assert saved(call(hears())) == [0]


def test_changed_settings_go_to_the_model_and_hold_for_the_call() -> None:
    call = Driver()
    text = model_setup(answers=False, interrupts=False)
    assert of(Configure, call(SettingsChanged(text))) == [Configure(text)]
    call(begins(), *says("one two", 1_000))
    call.wait(100)
    call(hears(), transcript())
    call.wait(1_000)
    call(ends())
    assert call.item("agent_1").heard_ms == 1_000  # the model does not stop for the caller any more


def test_too_much_held_is_refused_instead_of_kept() -> None:
    call = Driver(ready=False)
    for n in range(1_000):
        assert of(Refuse, call(typed(f"t{n}"))) == []
    assert len(of(Refuse, call(typed("one_too_many")))) == 1


def test_a_call_has_so_many_items_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_side, "MAX_ITEMS", 3)
    for write in (typed, wrote, lambda item_id: wrote_call(item_id, f"call of {item_id}")):
        call = Driver()
        for n in range(3):
            assert kinds(call(write(f"t{n}"))) == ["AddItem"]
        assert kinds(call(write("t3"))) == ["Refuse"]


# ---- what a far end has dropped


def test_what_a_far_end_had_played_at_a_clear_corrects_the_record_and_not_the_model() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), *says("one two three four five", 1_000))
    call.wait(300)
    assert of(TruncateItem, call(hears("item_2"))) == [TruncateItem("agent_1", 300, None)]
    assert call.item("agent_1").heard_text == "one"
    call.wait(80)
    out = call(SpeechDropped((("agent_1", 420),)))
    assert kinds(out) == ["SaveTurn"]
    assert saved(out) == [0]
    said = call.item("agent_1")
    assert (said.heard_ms, said.heard, said.heard_text) == (420, Heard.REPORTED, "one two")
    assert [(span.item_id, span.heard_ms) for span in call.call.played(call.now_ms)] == [("agent_1", 420)]


def test_what_was_dropped_of_nothing_that_was_sent_changes_nothing() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), *says("one two three", 1_000))
    call.wait(390)
    call(hears("item_2"))
    assert call(SpeechDropped((("nobody", 100), ("item_2", 100)))) == []
    call(hung_up())
    assert call(SpeechDropped((("agent_1", 100),))) == []
    assert call.item("agent_1").heard_ms == 390
