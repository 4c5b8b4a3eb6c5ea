from __future__ import annotations

from support.calls.call_driver import (
    START_MS,
    Driver,
    asked,
    begins,
    caller_audio,
    create,
    ends,
    failed,
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
    taken,
    transcript,
    typed,
    wants,
    wire,
    writes,
)

from sessions.commands import (
    AddToolOutput,
    CancelResponse,
    ClearPlayback,
    Play,
    Relay,
    RunTool,
    StopTool,
    ToolEnded,
    ToolRunning,
    TruncateItem,
)
from sessions.events import AgentItemEnded, AgentText, MarkEchoed, ModelPassed, SettingsChanged
from sessions.record import Heard, ToolUse
from sessions.usage import TokenUsage
from sessions.values import Outcome


def a_turn(call: Driver, n: int, text: str = "one two three four") -> None:
    """The caller says something, and the agent begins to answer with a second of speech."""
    call(hears(f"item_{n}"), heard(f"item_{n}"), taken(f"item_{n}"), begins(f"resp_{n}"))
    call(*says(text, 1_000, f"resp_{n}", f"agent_{n}"))


# ---- barge-in


def test_a_caller_who_interrupts_is_believed_to_have_heard_what_time_allowed() -> None:
    call = Driver()
    a_turn(call, 1)
    call.wait(600)
    call(hears("item_2"), ends("resp_1", Outcome.CANCELLED))
    call.wait(5_000)
    said = call.item("agent_1")
    assert (said.heard_ms, said.heard, said.heard_text) == (600, Heard.ESTIMATED, "one two")
    assert [turn.interrupted for turn in call.call.turns] == [True, False]
    assert of(ClearPlayback, call.commands) == []  # the client stops playback


def test_where_the_gateway_plays_it_clears_and_tells_the_model_how_much_was_heard() -> None:
    call = Driver(client_plays=False)
    a_turn(call, 1)
    call.wait(600)
    out = call(hears("item_2"))
    assert kinds(out) == ["ClearPlayback", "TruncateItem", "SaveTurn"]
    assert of(TruncateItem, out) == [TruncateItem("agent_1", 600, None)]


def test_a_far_end_that_echoes_marks_is_believed() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), item(), sounds(3_000))
    for played_ms in range(200, 1_200, 200):
        call.wait(200)
        call(MarkEchoed("agent_1", played_ms - 60))  # 60 ms after that was played
    call.wait(500)
    call(MarkEchoed("agent_1", 1_140))  # 360 ms after that was played: it is 300 ms late
    out = call(hears("item_2"))
    (told,) = of(TruncateItem, out)
    assert abs(told.heard_ms - 1_200) <= 1
    call(MarkEchoed("agent_1", 3_000))
    assert (call.item("agent_1").heard_ms, call.item("agent_1").heard) == (told.heard_ms, Heard.MARKED)


def test_an_answer_whose_only_mark_comes_after_its_end_is_written_again() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), item(), sounds(500), ends())
    call.wait(600)
    assert (call.item("agent_1").heard_ms, call.item("agent_1").heard) == (500, Heard.ESTIMATED)
    assert saved(call(MarkEchoed("agent_1", 500))) == [0]
    assert (call.item("agent_1").heard_ms, call.item("agent_1").heard) == (500, Heard.MARKED)


def test_an_answer_that_counted_as_over_is_played_still_where_a_mark_says_so() -> None:
    call = Driver(client_plays=False)
    call(hears(), heard(), begins(), *says("one two three four", 1_000), ends())
    for _ in range(2):
        call.wait(250)
        call(MarkEchoed("agent_1", (call.now_ms - START_MS) - 50))
    call.wait(500)
    assert call.item("agent_1").heard_ms == 1_000
    call.wait(100)
    call(MarkEchoed("agent_1", 600))  # half a second after that was played
    call(hears("item_2"))
    assert call.item("agent_1").heard_ms < 700
    assert call.item("agent_1").heard_text == "one two"


def test_a_model_that_is_told_not_to_stop_is_heard_to_the_end() -> None:
    call = Driver(setup=model_setup(interrupts=False), client_plays=False)
    a_turn(call, 1)
    call.wait(300)
    assert of(ClearPlayback, call(hears("item_2"))) == []
    call(ends("resp_1"))
    call.wait(1_000)
    assert call.item("agent_1").heard_text == "one two three four"


def test_an_answer_stopped_before_its_first_sound_was_interrupted_too() -> None:
    call = Driver()
    call(hears(), heard(), begins(), hears("item_2"))
    assert [turn.interrupted for turn in call.call.turns] == [True, False]


def test_only_the_turn_that_was_sounding_is_marked_as_interrupted() -> None:
    call = Driver()
    a_turn(call, 1)
    call(ends("resp_1"), typed())
    call.wait(200)
    call(hears("item_2"))
    assert [turn.interrupted for turn in call.call.turns] == [True, False]


def test_a_tool_that_may_be_interrupted_is_stopped_and_the_model_told() -> None:
    call = Driver()
    call(hears(), heard(), begins(), wants("slow", "a"), wants("find", "b"), ends())
    out = call(hears("item_2"))
    assert [stop.call_id for stop in of(StopTool, out)] == ["a"]
    assert [told.call_id for told in of(AddToolOutput, out)] == ["a"]
    assert [(end.call_id, end.error) for end in of(ToolEnded, out)] == [("a", "stopped")]
    assert of(AddToolOutput, call(finished("a"))) == []


# ---- the record


def test_words_that_come_late_fill_their_place_in_the_turn_they_belong_to() -> None:
    call = Driver()
    a_turn(call, 1)
    call(ends("resp_1"))
    call.wait(2_000)
    a_turn(call, 2)
    assert saved(call(transcript("item_1", "Is there a table?"))) == [0]
    assert call.said[:2] == [("caller", "Is there a table?"), ("agent", "one two three four")]
    call(transcript("item_2", "For ", final=False), transcript("item_2", "two", final=False))
    assert call.item("item_2").text == "For two"
    call(transcript("item_2", "For two."), transcript("item_2", "again", final=False))
    assert (call.item("item_2").text, call.item("item_2").final) == ("For two.", True)


def test_words_that_come_before_their_item_are_kept_for_it() -> None:
    call = Driver()
    call(transcript("item_1", "Hello?"), taken("item_1"))
    assert call.said == [("caller", "Hello?")]


def test_a_turn_ends_with_its_answer() -> None:
    call = Driver()
    a_turn(call, 1)
    call.wait(700)
    assert saved(call(ends("resp_1", usage=TokenUsage(output_audio=7)))) == [0]
    turn = call.call.turns[0]
    assert (turn.begin_ms, turn.end_ms, turn.outcome, turn.usage) == (0, 700, "completed", TokenUsage(output_audio=7))


def test_a_turn_goes_on_while_its_tools_and_what_follows_from_them_do() -> None:
    call = Driver()
    call(hears(), heard(), begins(), wants("find"))
    assert saved(call(ends())) == []
    assert saved(call(finished())) == []
    assert saved(call(begins("resp_2"), *says("Yes.", 400, "resp_2"), ends("resp_2"))) == [0]
    entries = call.call.turns[0].entries
    assert [type(entry).__name__ for entry in entries] == ["Utterance", "ToolUse", "Utterance"]


def test_a_failed_tool_is_in_the_record_with_the_kind_of_its_failure() -> None:
    call = Driver()
    call(begins(), wants("find"), failed())
    tool = call.call.turns[0].entries[0]
    assert isinstance(tool, ToolUse)
    assert (tool.output, tool.error, tool.server_side) == ("it did not work", "tool_execution_error", True)


def test_the_next_caller_turn_ends_one_that_is_still_being_answered() -> None:
    call = Driver(setup=model_setup(interrupts=False))
    a_turn(call, 1)
    assert saved(call(hears("item_2"))) == [0]
    assert saved(call(AgentText("resp_1", "agent_1", " five", True, None), sounds(200, "resp_1", "agent_1"))) == []
    assert saved(call(ends("resp_1"))) == [0]
    call.wait(2_000)
    assert call.item("agent_1").heard_text == "one two three four five"


def test_words_that_come_whole_after_the_end_of_their_answer_are_in_the_record() -> None:
    call = Driver()
    call(hears(), heard(), begins("resp_1"), item("resp_1", "agent_1"), sounds(1_000, "resp_1", "agent_1"))
    call(ends("resp_1"))
    call.wait(2_000)
    assert saved(call(AgentText("resp_1", "agent_1", "one two", True, None, whole=True))) == [0]
    assert call.item("agent_1").heard_text == "one two"


def test_what_is_said_beside_the_conversation_is_not_in_the_record() -> None:
    call = Driver()
    call(create(out_of_band=True), begins("side", out_of_band=True), *says("psst", 100, "side", "aside"))
    out = call(ends("side", usage=TokenUsage(output_text=3)))
    assert call.call.turns == []
    assert len(of(Relay, out)) == 1
    assert call.call.summary(call.now_ms).usage == TokenUsage(output_text=3)


def test_sound_beside_the_conversation_is_no_answer_and_delays_none() -> None:
    call = Driver()
    call(create("beside", out_of_band=True), begins("side", out_of_band=True), sounds(6_000, "side", "aside"))
    assert len(of(Play, call.commands)) == 1
    call(ends("side"), hears(), heard(), begins(), *says("Yes.", 200), ends())
    call.wait(200)
    assert call.item("agent_1").heard_ms == 200
    assert [span.item_id for span in call.call.played(call.now_ms)] == ["agent_1"]
    assert call.call.summary(call.now_ms).agent_audio_ms == 200


def test_a_response_whose_beginning_is_missed_is_the_conversations_where_the_model_is_about_to_answer() -> None:
    call = Driver()
    call(create("beside", out_of_band=True), hears(), heard())
    assert of(RunTool, call(wants("find", "call_1", "missed"))) == [RunTool("call_1", "find", "{}", 0)]
    call = Driver()
    call(create("beside", out_of_band=True))
    assert of(RunTool, call(wants("find", "call_1", "missed"))) == []


def test_an_agent_that_speaks_on_was_not_interrupted() -> None:
    call = Driver(setup=model_setup(interrupts=False))
    call(hears(), heard(), begins(), *says("one two three", 1_000))
    call.wait(300)
    call(hears("item_2"), heard("item_2"), ends())
    call.wait(1_000)
    assert (call.item("agent_1").heard_ms, call.call.turns[0].interrupted) == (1_000, False)


def test_what_is_said_to_an_agent_that_speaks_on_is_answered_after_it() -> None:
    call = Driver(setup=model_setup(interrupts=False))
    call(hears(), heard(), begins(), *says("one two three", 5_000))
    call(hears("item_2"))
    call.wait(500)
    call(heard("item_2"))
    assert asked(call.wait(3_000)) == []
    assert len(asked(call(ends()))) == 1


def test_a_model_that_answers_it_by_itself_is_not_asked() -> None:
    call = Driver(setup=model_setup(interrupts=False))
    call(hears(), heard(), begins(), hears("item_2"), heard("item_2"), ends(), begins("resp_2"), ends("resp_2"))
    assert asked(call.wait(5_000)) == []


def test_speech_of_an_item_that_was_never_announced_is_in_the_record() -> None:
    call = Driver()
    call(begins(), sounds(400), ends())
    call.wait(400)
    assert (call.item("agent_1").heard_ms, call.item("agent_1").heard) == (400, Heard.ESTIMATED)


def test_a_written_answer_is_heard_as_it_is() -> None:
    call = Driver(setup=model_setup(text_only=True))
    call(typed(), create(), begins(), *writes("Good day."), ends())
    assert call.said == [("caller", "hello"), ("agent", "Good day.")]
    assert call.item("agent_1").heard is None


# ---- what passes through


def test_what_the_call_has_no_opinion_on_goes_to_the_client() -> None:
    call = Driver()
    passed = ModelPassed(wire("rate_limits.updated"))
    assert call(passed) == [Relay(passed)]


def test_refusals_of_our_own_messages_stay_here() -> None:
    call = Driver()
    assert call(refuses("pb_77", "response_cancel_not_active")) == []
    assert len(call(refuses("theirs", "item_truncate_invalid_item_id"))) == 1
    assert len(call(refuses(None, "server_error"))) == 1


def test_a_tool_is_shown_to_clients_that_want_to_see() -> None:
    call = Driver()
    assert of(ToolRunning, call(begins(), wants("find"))) == [ToolRunning("call_1", "item_of_call_1", "find", "{}")]
    shown = of(ToolEnded, call(finished()))
    assert shown == [ToolEnded("call_1", "item_of_call_1", "find", "{}", "done", None)]


def test_a_caller_who_cannot_take_more_speech_has_its_answer_cancelled_once() -> None:
    call = Driver()
    assert call.call.too_much_unsent() == []
    call(begins(), sounds(1_000))
    assert call.call.too_much_unsent() == [CancelResponse("resp_1", None)]
    assert call.call.too_much_unsent() == []
    call(ends(outcome=Outcome.CANCELLED), begins("resp_2"))
    assert call.call.too_much_unsent() == [CancelResponse("resp_2", None)]


# ---- latency


def spoken_to(call: Driver, *, speech_ms: int = 1_000, silence_ms: int = 500) -> None:
    """The caller speaks, and the model notices after a silence."""
    call(hears())
    call.speak(speech_ms)
    call.speak(silence_ms, loud=False)
    call(heard(), taken())


def test_latency_runs_from_the_end_of_speech_not_from_the_models_word_for_it() -> None:
    call = Driver()
    spoken_to(call, silence_ms=500)
    call.wait(300)
    call(begins(), sounds(100))
    assert call.call.turns[0].latency_ms == 800


def test_latency_runs_to_the_first_audible_sample() -> None:
    call = Driver()
    spoken_to(call, silence_ms=500)
    call(begins(), sounds(200, loud=False), sounds(100))
    assert call.call.turns[0].latency_ms == 700


def test_the_time_that_tools_take_is_part_of_the_latency() -> None:
    call = Driver()
    spoken_to(call, silence_ms=500)
    call(begins(), wants("find"), ends())
    call.wait(2_000)
    call(finished(), begins("resp_2"), sounds(100, "resp_2"))
    assert call.call.turns[0].latency_ms == 2_500


def test_latency_of_a_written_answer_runs_from_the_typed_text_to_its_first_word() -> None:
    call = Driver(setup=model_setup(text_only=True))
    call(typed(), create())
    call.wait(250)
    call(begins())
    call.wait(50)
    call(*writes("Good "), AgentText("resp_1", "agent_1", "day.", False, None))
    assert call.call.turns[0].latency_ms == 300


def test_a_spoken_answer_to_typed_text_is_measured_from_the_text() -> None:
    call = Driver()
    call.speak(500)
    call.wait(5_000)
    call(typed(), create(), begins())
    call.wait(400)
    call(sounds(100))
    assert call.call.turns[0].latency_ms == 400


def test_an_answer_that_nobody_asked_for_has_no_latency() -> None:
    call = Driver(greeting="Hello!")
    call.speak(100)
    call.wait(500)
    call(begins(), *says("Hello!", 300), ends())
    assert call.call.turns[0].latency_ms is None


def test_what_sounds_beside_the_conversation_is_not_the_answer() -> None:
    call = Driver()
    spoken_to(call, silence_ms=500)
    call(begins(), begins("side", out_of_band=True), sounds(100, "side", "aside"))
    call.wait(300)
    call(sounds(100))
    assert call.call.turns[0].latency_ms == 800


def test_a_latency_measured_after_its_turn_ended_is_written() -> None:
    call = Driver(setup=model_setup(interrupts=False))
    spoken_to(call)
    call(begins(), sounds(20, loud=False), typed())
    assert saved(call(caller_audio(loud=False), sounds(200))) == [0]
    assert call.call.turns[0].latency_ms is not None


def test_settings_that_make_the_model_wait_are_followed_at_once() -> None:
    call = Driver()
    call(SettingsChanged(model_setup(answers=False)), hears(), heard(), begins("r"), wants("find", response_id="r"))
    assert "RequestResponse" in kinds(call(ends("r"), finished()))


def test_a_function_that_nobody_declared_is_run_here_so_that_the_model_hears_of_it() -> None:
    call = Driver(setup=model_setup(client_tools=frozenset({"open_door"})))
    call(hears(), heard(), taken(), begins())
    assert [command.name for command in of(RunTool, call(wants("close_door")))] == ["close_door"]
    told = call(failed(), ends())
    assert [command.output for command in of(AddToolOutput, told)] == ["it did not work"]
    assert len(asked(told)) == 1  # and the model is asked to go on
    (use,) = [entry for entry in call.call.turns[0].entries if isinstance(entry, ToolUse)]
    assert (use.server_side, use.deadline_ms, use.made_up) == (True, None, True)


def test_a_function_that_the_client_declared_is_the_clients() -> None:
    call = Driver(setup=model_setup(client_tools=frozenset({"open_door"})))
    call(hears(), heard(), taken(), begins())
    assert of(RunTool, call(wants("open_door"))) == []
    assert asked(call(ends())) == []


def test_a_barge_in_leaves_a_function_alone_that_nobody_declared() -> None:
    call = Driver(setup=model_setup(client_tools=frozenset()))
    call(hears(), heard(), taken(), begins(), wants("close_door"))
    assert of(StopTool, call(hears("item_2"))) == []


# ---- what a model that breaks the protocol leaves out


def test_an_answer_that_nobody_saw_begin_is_the_one_that_was_asked_for() -> None:
    call = Driver()
    call(typed(), create())
    out = call(item("resp_9", "agent_9"), AgentText("resp_9", "agent_9", "Fine.", True, None), ends("resp_9"))
    assert kinds(out)[-1] == "SaveTurn"
    assert call.item("agent_9").text == "Fine."
    assert asked(call(create("again"))) != []  # it waits for nothing any more


def test_the_end_of_an_answer_that_nobody_saw_begin_ends_what_was_asked_for() -> None:
    call = Driver()
    call(typed(), create())
    call(ends("resp_9", Outcome.FAILED))
    assert asked(call(create("again"))) != []


def test_an_answer_beside_the_conversation_that_nobody_saw_begin_is_no_part_of_it() -> None:
    call = Driver()
    call(create(out_of_band=True))
    call(item("resp_9", "agent_9"), ends("resp_9"))
    assert call.call.turns == []


def test_what_comes_of_an_unknown_answer_while_none_is_asked_for_begins_nothing() -> None:
    call = Driver()
    call(item("resp_9", "agent_9"), ends("resp_9"))
    assert call.call.turns == []


def test_a_model_that_hears_and_speaks_at_once_is_neither_cut_short_nor_asked_again() -> None:
    call = Driver(setup=model_setup(duplex=True), client_plays=False)
    call(begins(), *says("one two three four", 4_000))
    call.wait(1_000)
    out = call(hears(), heard())
    assert kinds(out) == ["SaveTurn"]
    call.wait(10_000)
    assert asked(call.commands) == []
    call(ends())
    assert call.item("agent_1").heard_ms == 4_000


def test_the_end_of_an_items_sound_is_passed_on() -> None:
    call = Driver()
    call(begins(), *says("Hello.", 100))
    ended = AgentItemEnded("resp_1", "agent_1", None)
    assert call(ended) == [Relay(ended)]
