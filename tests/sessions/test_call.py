from __future__ import annotations

from support.calls.call_driver import (
    START_MS,
    CountingIds,
    Driver,
    begins,
    call_rules,
    caller_audio,
    create,
    ends,
    finished,
    frame,
    heard,
    hears,
    hung_up,
    kinds,
    lost,
    model_setup,
    of,
    saved,
    says,
    sounds,
    taken,
    transcript,
    typed,
    wants,
)

from audio.formats import PCM16_24K, AudioFormat, AudioFrame, Coding
from sessions.call import Call
from sessions.commands import EndCall, SaveTurn
from sessions.events import AgentAudio, CallerAudio, HungUp, ModelReady
from sessions.usage import TokenUsage
from sessions.values import Outcome


def test_a_call_in_two_turns() -> None:
    call = Driver()
    call(hears(), heard(), taken(), begins(), transcript(text="Is a table free?"))
    call(wants("find"), ends(), finished(output="12:00"))
    call(begins("resp_2"), *says("Yes, at noon.", 900, "resp_2", "agent_2"), ends("resp_2"))
    call.wait(2_000)
    call(typed("text_1", "Thank you"), create(), begins("resp_3"), *says("Goodbye.", 400, "resp_3", "agent_3"))
    call(ends("resp_3"))
    call.wait(1_000)
    call(hung_up())
    assert call.said == [
        ("caller", "Is a table free?"),
        ("find", "12:00"),
        ("agent", "Yes, at noon."),
        ("caller", "Thank you"),
        ("agent", "Goodbye."),
    ]
    assert [turn.outcome for turn in call.call.turns] == ["completed", "completed"]


def test_a_caller_who_hangs_up_in_mid_answer_has_heard_so_much_and_the_open_turn_is_written() -> None:
    call = Driver()
    call(hears(), heard(), begins(), *says("one two three four", 1_000))
    call.wait(500)
    out = call(hung_up())
    assert kinds(out) == ["EndCall", "DropModel", "SaveTurn"]
    turn = call.call.turns[0]
    assert turn.end_ms == 500
    assert call.item("agent_1").heard_text == "one two"
    assert call.item("agent_1").final


def test_after_the_end_only_the_record_changes() -> None:
    call = Driver()
    call(hears(), heard(), taken(), begins(), wants("find"), hung_up())
    everything = (
        *(caller_audio(), sounds(100), *says("late", 100), begins("late"), hears("late"), typed(), create()),
        *(wants("find", "late"), ends(outcome=Outcome.FAILED), lost(), ModelReady(), hung_up()),
    )
    assert call(*everything) == []
    assert call(transcript(text="my last words")) == [SaveTurn(0)]
    assert call(finished()) == [SaveTurn(0)]
    assert call.said == [("caller", "my last words"), ("find", "done")]
    assert call.call.too_much_unsent() == []
    assert call.call.end_reason == "caller_hung_up"


def test_a_call_ends_once_and_says_why() -> None:
    call = Driver()
    call(HungUp("shutting_down"), HungUp("caller_hung_up"), lost(retryable=False))
    assert [end.reason for end in of(EndCall, call.commands)] == ["shutting_down"]


def test_a_call_without_a_word_has_no_turns() -> None:
    call = Driver()
    call.wait(1_000)
    assert saved(call(hung_up())) == []
    assert call.call.turns == []


def test_the_sums_of_a_call() -> None:
    call = Driver()
    call.speak(1_000)
    usage = TokenUsage(input_audio=5, output_audio=7)
    for name in ("resp_1", "resp_2"):
        call(
            begins(name), *says("Hello.", 400, name, f"agent_{name}"), ends(name, usage=usage), ends(name, usage=usage)
        )
    call.wait(4_000)
    call(hung_up())
    call.wait(9_000)
    summary = call.call.summary(call.now_ms)
    assert (summary.turns, summary.caller_audio_ms, summary.agent_audio_ms) == (2, 1_000, 800)
    assert summary.usage == TokenUsage(input_audio=10, output_audio=14)
    assert (summary.end_reason, summary.duration_ms) == ("caller_hung_up", 5_000)
    assert (summary.redials, summary.dropped_audio_ms) == (0, 0)


def test_sound_is_summed_across_a_change_of_rate() -> None:
    call = Driver()
    quick = AudioFrame(bytes(960), PCM16_24K, 0)
    call(caller_audio(100), CallerAudio(quick, None), begins(), sounds(100), AgentAudio("resp_1", "a2", quick, None))
    summary = call.call.summary(call.now_ms)
    assert (summary.caller_audio_ms, summary.agent_audio_ms) == (120, 120)


def test_where_speech_lies_in_time() -> None:
    call = Driver()
    call(begins(), *says("one", 500), *says("two", 300, item_id="agent_2"), ends())
    call.wait(5_000)
    spans = call.call.played(call.now_ms)
    assert [(span.item_id, span.begin_ms - START_MS, span.heard_ms) for span in spans] == [
        ("agent_1", 0, 500),
        ("agent_2", 500, 300),
    ]


def test_sound_may_come_in_the_same_format_by_another_name() -> None:
    call = Driver()
    for _ in range(5):
        again = AudioFrame(frame(20).payload, AudioFormat(Coding.PCM16, 8000), 0)
        call(CallerAudio(again, None))
        call.wait(20)
    call(hears(), heard(), begins(), sounds(100))
    assert call.call.turns[0].latency_ms == 20


def test_nothing_is_done_before_a_call_starts() -> None:
    call = Call(call_rules(), model_setup(), CountingIds(), START_MS)
    assert call.on_event(lost(), START_MS) == []
    assert kinds(call.start(START_MS)) == ["DialModel"]
