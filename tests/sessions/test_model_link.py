from __future__ import annotations

from support.calls.call_driver import (
    Driver,
    answered,
    asked,
    begins,
    caller_audio,
    cancel,
    create,
    ends,
    finished,
    heard,
    hears,
    hung_up,
    kinds,
    lost,
    model_setup,
    of,
    refuses,
    says,
    seeded,
    sounds,
    transcript,
    truncated,
    typed,
    wants,
)

from sessions.commands import (
    AddItem,
    AddToolOutput,
    ClearPlayback,
    DialModel,
    DropModel,
    EndCall,
    LegReplaced,
    Refuse,
    RequestResponse,
    ResponseGone,
    Seed,
    SendAudio,
    Truncated,
    TruncateItem,
)
from sessions.events import CallerAudioDropped, ModelReady, SettingsChanged
from sessions.past import PastMessage, PastToolCall
from sessions.values import Outcome


def in_mid_answer(*, client_plays: bool = True) -> Driver:
    """The caller asked, and the agent has said a fifth of its answer."""
    call = Driver(client_plays=client_plays)
    call(hears(), heard(), begins(metadata={"topic": "tables"}), transcript(text="Is there a table?"))
    call(*says("Yes there is one at noon today", 1_000))
    call.wait(200)
    return call


def test_a_call_begins_by_dialling_its_model() -> None:
    call = Driver(ready=False)
    dials = of(DialModel, call.commands)
    assert [(dial.attempt, dial.deadline_ms - call.now_ms) for dial in dials] == [(0, 10_000)]


def test_what_comes_before_the_model_is_ready_waits_in_order() -> None:
    call = Driver(ready=False)
    call(caller_audio(20, start_sample=0), typed(), caller_audio(20, start_sample=160), create())
    out = call(ModelReady())
    assert kinds(out) == ["SendAudio", "AddItem", "SendAudio", "RequestResponse"]


def test_a_model_that_is_ready_twice_is_told_once() -> None:
    call = Driver(ready=False)
    call(typed(), ModelReady())
    assert call(ModelReady()) == []


def test_of_held_sound_the_oldest_goes_and_is_counted() -> None:
    call = Driver(ready=False)
    for n in range(550):
        call(caller_audio(20, start_sample=n * 160))
    sent = of(SendAudio, call(ModelReady()))
    assert [audio.frame.start_sample for audio in sent] == [n * 160 for n in range(50, 550)]
    assert call.call.summary(call.now_ms).dropped_audio_ms == 1_000


def test_settings_that_change_before_the_model_is_ready_keep_their_place_among_the_sound() -> None:
    call = Driver(ready=False)
    old, new = model_setup(), model_setup(text_only=True)
    call(SettingsChanged(new), SettingsChanged(old), caller_audio(), SettingsChanged(new))
    assert kinds(call(ModelReady())) == ["Configure", "SendAudio", "Configure"]


def test_a_lost_model_is_dialled_once_more_and_told_what_was_heard() -> None:
    call = in_mid_answer()
    out = call(lost())
    assert [gone.response_id for gone in of(ResponseGone, out)] == ["resp_1"]
    assert [(dial.attempt, dial.deadline_ms - call.now_ms) for dial in of(DialModel, out)] == [(1, 5_000)]
    out = call(ModelReady())
    assert seeded(call) == [
        PastMessage("item_1", "user", "Is there a table?"),
        PastMessage("agent_1", "assistant", "Yes"),
    ]
    assert [request.metadata for request in asked(out)] == [{"topic": "tables"}]
    assert call.call.summary(call.now_ms).redials == 1


def test_a_model_that_is_lost_again_before_it_answered_ends_the_call() -> None:
    call = in_mid_answer()
    call(lost(), ModelReady(), begins("resp_2"))
    out = call(lost())
    assert [(end.reason, end.error_code) for end in of(EndCall, out)] == [("model_lost", "model_lost")]
    assert [gone.response_id for gone in of(ResponseGone, out)] == ["resp_2"]
    assert of(DropModel, out)
    assert call.call.deadline_ms is None


def test_a_model_that_is_lost_again_after_it_answered_is_dialled_again() -> None:
    call = in_mid_answer()
    call(lost(), ModelReady(), begins("resp_2"), ends("resp_2"))
    assert [dial.attempt for dial in of(DialModel, call(lost()))] == [2]


def test_a_model_that_cannot_be_reached_at_first_has_one_more_dial() -> None:
    call = Driver(ready=False)
    call(typed(), create("mine"))
    assert len(of(DialModel, call(lost()))) == 1
    out = call(ModelReady())
    assert kinds(out) == ["AddItem", "RequestResponse"]  # and not a second time as the past
    call = Driver(ready=False)
    call(lost())
    call(lost())
    assert call.call.end_reason == "model_lost"


def test_a_loss_that_dialling_cannot_mend_ends_the_call() -> None:
    call = Driver()
    call(lost(retryable=False))
    assert call.call.end_reason == "model_lost"


def test_nobody_is_asked_for_an_answer_that_nobody_waits_for() -> None:
    call = Driver()
    call(begins(), *says("Hello", 500), ends())
    call.wait(1_000)
    assert asked(call(lost(), ModelReady())) == []


def test_an_answer_that_the_model_was_about_to_give_is_asked_for() -> None:
    call = Driver()
    call(hears(), heard(), lost())
    assert len(asked(call(ModelReady()))) == 1


def test_a_caller_cut_off_in_mid_word_is_heard_out_before_anything_is_asked() -> None:
    call = Driver()
    call(hears(), lost())
    assert asked(call(ModelReady())) == []
    call(hears("item_2"), heard("item_2"), begins(), ends())
    call.wait(10_000)
    assert asked(call.commands) == []
    silent = Driver()
    silent(hears(), lost(), ModelReady())
    assert len(asked(silent.wait(3_000))) == 1


def test_a_request_on_its_way_is_sent_again() -> None:
    call = Driver()
    call(create("mine"), create("beside", out_of_band=True), lost())
    names = [request.request_id for request in asked(call(ModelReady()))]
    assert sorted(names) == ["beside", "mine"]


def test_an_answer_beside_the_conversation_ends_too() -> None:
    call = Driver()
    call(begins("side", out_of_band=True))
    assert [gone.response_id for gone in of(ResponseGone, call(lost()))] == ["side"]
    assert asked(call(ModelReady())) == []


def test_a_client_that_asks_again_by_itself_is_not_answered_twice() -> None:
    call = in_mid_answer()
    call(lost(), create("again"))
    assert [request.request_id for request in asked(call(ModelReady()))] == ["again"]


def test_a_client_that_cancels_meanwhile_is_not_answered() -> None:
    call = in_mid_answer()
    call(lost())
    assert [no.code for no in of(Refuse, call(cancel()))] == ["response_cancel_not_active"]
    assert asked(call(ModelReady())) == []


def test_a_greeting_broken_off_is_said_again() -> None:
    call = Driver(greeting="Hello!")
    call.wait(500)
    call(begins(), lost())
    assert [request.say for request in asked(call(ModelReady()))] == ["Hello!"]


# ---- tools over a loss


def test_a_tool_that_ends_after_the_loss_is_told_with_its_call_once() -> None:
    call = Driver()
    call(begins(metadata={"topic": "tables"}), wants("find"), ends(), lost(), ModelReady())
    assert of(Seed, call.commands) == []
    out = call(finished())
    assert seeded(call) == [PastToolCall("item_of_call_1", "call_1", "find", "{}", "done")]
    assert of(AddToolOutput, out) == []
    assert [request.metadata for request in asked(out)] == [{"topic": "tables"}]


def test_a_tool_that_ends_while_the_next_leg_is_dialled_is_told_once() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), lost(), finished(), ModelReady())
    assert len(seeded(call)) == 1
    assert len(asked(call.commands)) == 1


def test_a_tool_that_ended_before_the_loss_is_told_again_and_followed_up_once() -> None:
    call = Driver()
    call(begins(), wants("find"), ends(), finished(), lost(), ModelReady())
    assert len(seeded(call)) == 1
    assert len(asked(call.commands)) == 2  # the first request was lost with its leg
    call(begins("r2"), ends("r2"))
    call.wait(5_000)
    assert len(asked(call.commands)) == 2


def test_an_answer_lost_with_its_tools_done_is_asked_for_once() -> None:
    call = Driver()
    call(begins(), wants("find"), finished(), lost())
    assert len(asked(call(ModelReady()))) == 1
    call(begins("r2"), ends("r2"))
    call.wait(5_000)
    assert len(asked(call.commands)) == 1


def test_results_told_to_a_new_leg_after_it_was_asked_are_spoken_too() -> None:
    call = Driver()
    call(begins("r1"), wants("find", "a", "r1"), ends("r1"), hears(), heard(), begins("r2"), wants("book", "b", "r2"))
    call(lost(), ModelReady())
    assert len(asked(call(finished("a")))) == 1
    call(finished("b"), begins("about_a"))
    assert len(asked(call(ends("about_a")))) == 1


def test_a_client_function_called_by_the_lost_leg_is_left_to_its_client() -> None:
    call = Driver()
    call(begins(), wants("on_screen"), lost(), ModelReady())
    assert asked(call.commands) == []
    out = call(answered("call_1", "shown"), create("mine"))
    assert seeded(call) == [PastToolCall("item_of_call_1", "call_1", "on_screen", "{}", "shown")]
    assert of(AddToolOutput, out) == []
    assert [request.request_id for request in asked(out)] == ["mine"]


def test_what_is_typed_while_the_next_leg_is_dialled_reaches_it_once() -> None:
    call = in_mid_answer()
    call(lost(), typed("text_1", "hello"))
    out = call(ModelReady())
    assert "hello" not in [past.text for past in seeded(call) if isinstance(past, PastMessage)]
    assert len(of(AddItem, out)) == 1


# ---- playback over a loss


def test_by_phone_speech_goes_on_until_the_next_leg_can_take_over() -> None:
    call = in_mid_answer(client_plays=False)
    assert of(ClearPlayback, call(lost())) == []
    call.wait(300)
    out = call(ModelReady())
    assert kinds(out)[0] == "ClearPlayback"
    assert call.item("agent_1").heard_ms == 500


def test_a_client_that_plays_goes_on_playing() -> None:
    call = in_mid_answer()
    assert of(ClearPlayback, call(lost(), ModelReady())) == []
    call.wait(2_000)
    call(truncated("agent_1", 900))
    assert call.item("agent_1").heard_ms == 900
    call(hung_up())
    assert call.item("agent_1").heard_ms == 900


def test_a_client_that_says_nothing_of_a_lost_answer_has_heard_it_out() -> None:
    call = in_mid_answer()
    call(lost(), ModelReady())
    call.wait(2_000)
    call(hung_up())
    assert call.item("agent_1").heard_ms == 1_000


def test_what_a_client_truncates_of_a_lost_leg_is_answered_here() -> None:
    call = in_mid_answer()
    call(lost(), ModelReady())
    out = call(truncated("agent_1", 150))
    assert of(Truncated, out) == [Truncated("agent_1", 150)]
    assert of(TruncateItem, out) == []
    assert call.item("agent_1").heard_ms == 150


def test_a_leg_that_is_gone_has_nothing_to_say() -> None:
    call = in_mid_answer()
    call(lost())
    before = call.said
    late = (sounds(100), begins("late"), ends(outcome=Outcome.COMPLETED), hears("late"), wants("find"), refuses("x"))
    assert call(*late) == []
    assert call.said == before


def test_a_call_that_ends_while_it_dials_lets_go_of_the_dial() -> None:
    call = Driver(ready=False)
    assert kinds(call(hung_up())) == ["EndCall", "DropModel"]
    assert call(ModelReady()) == []
    assert of(RequestResponse, call.commands) == []


def test_the_callers_leg_hears_of_each_new_leg_before_anything_that_the_leg_says() -> None:
    call = Driver(ready=False)
    assert of(LegReplaced, call.commands) == []
    call(ModelReady())
    assert kinds(call(lost())) == ["LegReplaced", "DialModel"]


def test_sound_that_a_connection_dropped_is_in_the_sums_also_when_the_call_is_over() -> None:
    call = Driver()
    call(CallerAudioDropped(300), lost(), CallerAudioDropped(40), hung_up(), CallerAudioDropped(2))
    assert call.call.summary(call.now_ms).dropped_audio_ms == 342
