"""The account of a call: its responses, the caller's speech, transcriptions, dials."""

from __future__ import annotations

from dataclasses import replace

from support.calls.call_driver import (
    Driver,
    begins,
    caller_audio,
    create,
    ends,
    finished,
    heard,
    hears,
    hung_up,
    lost,
    model_setup,
    refuses,
    says,
    taken,
    transcript,
    typed,
    wants,
    writes,
)
from support.calls.paid import PaidPrices

from sessions.account_book import MAX_DIALS, MAX_TURN_RESPONSES
from sessions.accounts import DialCause, LegError, ModelTarget, ResponseOrigin, ResponseUse, SpeechStretch
from sessions.commands import RequestResponse
from sessions.events import ModelReady, SpeechStarted
from sessions.setup import ModelSetup
from sessions.usage import TokenUsage, TranscriptionUsage
from sessions.values import ModelSession, Outcome

USED = TokenUsage(input_text=30, input_audio=20, input_cached=10, cached_text=8, cached_audio=2, output_audio=7)


def uses(call: Driver) -> list[ResponseUse]:
    return [use for turn in call.call.turns for use in turn.responses]


def transcribing(model: str) -> ModelSetup:
    session = {"audio": {"input": {"transcription": {"model": model}}}}
    return replace(model_setup(), session=session)


# ---- responses


def test_a_response_that_the_model_began_has_its_times_its_end_and_what_it_used() -> None:
    call = Driver()
    call.wait(100)
    call(hears(), heard(), taken())
    call.wait(50)
    call(begins())
    call.wait(30)
    call(*says("one two", 400))
    call.wait(200)
    call(replace(ends(usage=USED), reason="max_output_tokens", outcome=Outcome.INCOMPLETE))
    use = uses(call)[0]
    assert (use.origin, use.leg, use.asked_ms, use.begin_ms) == (ResponseOrigin.MODEL, 0, None, 150)
    assert use.first_sound_ms is not None
    assert 180 <= use.first_sound_ms <= 185
    assert (use.end_ms, use.outcome, use.reason, use.usage) == (380, "incomplete", "max_output_tokens", USED)
    assert call.call.summary(call.now_ms).usage == USED


def test_a_response_says_who_asked_for_it_and_when() -> None:
    call = Driver(setup=model_setup(answers=False), greeting="Hello.")
    call.wait(600)
    call(begins("resp_1"), *writes("Hello.", "resp_1"), ends("resp_1"))
    call.wait(100)
    call(typed(), create())
    call.wait(40)
    call(begins("resp_2"), wants("find", response_id="resp_2"), ends("resp_2"))
    call.wait(60)
    call(finished())
    call.wait(10)
    call(begins("resp_3"), ends("resp_3"))
    asked = [(use.origin.value, use.asked_ms, use.begin_ms) for use in uses(call)]
    assert asked == [("greeting", 500, 600), ("client", 700, 740), ("tool", 800, 810)]
    assert uses(call)[0].first_sound_ms == 600  # written words count when they come


def test_a_response_that_crossed_a_refused_request_was_the_models_own() -> None:
    call = Driver()
    call(typed(), create("create_1"), begins())
    assert uses(call)[0].origin is ResponseOrigin.CLIENT
    request = [command.request for command in call.commands if isinstance(command, RequestResponse)][-1]
    call(refuses(request.request_id))
    assert (uses(call)[0].origin, uses(call)[0].asked_ms) == (ResponseOrigin.MODEL, None)


def test_a_response_beside_the_conversation_is_in_no_turn_and_in_the_sums() -> None:
    call = Driver()
    call(create(out_of_band=True), begins(out_of_band=True), ends(usage=USED))
    summary = call.call.summary(call.now_ms)
    assert uses(call) == []
    assert (summary.usage, summary.outside) == (USED, USED)


def test_what_a_lost_leg_ran_ends_with_it_and_the_next_answer_runs_on_the_next_leg() -> None:
    call = Driver(setup=model_setup(answers=False))
    call(typed(), create(), begins())
    call.wait(70)
    call(lost())
    call.wait(30)
    call(ModelReady(), begins("resp_2"), ends("resp_2"))
    first, second = uses(call)
    assert (first.leg, first.end_ms, first.outcome, first.reason, first.usage) == (0, 70, "failed", "leg_lost", None)
    assert (second.leg, second.origin) == (1, ResponseOrigin.REDIAL)


def test_a_turn_keeps_only_its_first_responses() -> None:
    call = Driver(setup=model_setup(answers=False))
    call(typed(), create(), begins("resp_0"))
    for number in range(MAX_TURN_RESPONSES + 3):
        call(wants("find", f"call_{number}", f"resp_{number}"), ends(f"resp_{number}", usage=TokenUsage(output_text=1)))
        call(finished(f"call_{number}"), begins(f"resp_{number + 1}"))
    assert [len(turn.responses) for turn in call.call.turns] == [MAX_TURN_RESPONSES]
    assert call.call.summary(call.now_ms).usage.output_text == MAX_TURN_RESPONSES + 3


# ---- the caller


def test_a_stretch_of_speech_runs_from_its_first_to_its_last_audible_sample() -> None:
    call = Driver()
    call.speak(1_000, loud=False)
    call.speak(600)
    call.speak(300, loud=False)
    call(SpeechStarted("item_1", 700, None), heard())  # positions in the sound: 300 ms of padding before the speech
    assert call.call.turns[0].speech == [SpeechStretch(1_000, 1_600)]


def test_speech_goes_on_until_the_model_says_that_it_has_ended() -> None:
    call = Driver()
    call(caller_audio(), hears())
    assert [stretch.end_ms for stretch in call.call.turns[0].speech] == [None]
    call.wait(100)
    call(hears("item_2"))  # the end of the first was not said
    assert [stretch.end_ms is None for stretch in call.call.turns[0].speech] == [False, True]


def test_a_transcription_says_what_it_used_once_and_in_the_sums_by_model() -> None:
    call = Driver(setup=transcribing("gpt-4o-transcribe"))
    used = TranscriptionUsage("", input_audio=40, output_text=9)
    for item_id in ("item_1", "item_2"):
        call(hears(item_id), heard(item_id), taken(item_id), replace(transcript(item_id), usage=used))
        call(replace(transcript(item_id), usage=used))
    named = replace(used, model="gpt-4o-transcribe")
    assert [call.item(item_id).transcription for item_id in ("item_1", "item_2")] == [named, named]
    both = TranscriptionUsage("gpt-4o-transcribe", input_audio=80, output_text=18)
    assert [usage for usage, _ in call.call.summary(call.now_ms).transcriptions] == [both]


def test_words_that_come_after_the_end_are_accounted_for() -> None:
    call = Driver(setup=transcribing("whisper-1"))
    call(hears(), heard(), taken(), lost(retryable=False))
    assert call.call.end_reason == "model_lost"
    call(replace(transcript(), usage=TranscriptionUsage("", audio_ms=1_500)))
    assert call.item("item_1").transcription == TranscriptionUsage("whisper-1", audio_ms=1_500)


# ---- dials


def test_dials_say_why_where_and_how_they_ended() -> None:
    target = ModelTarget("azure/voice", "example.openai.azure.com", 443)
    call = Driver(ready=False, target=target)
    call.wait(200)
    call(ModelReady(ModelSession("sess_m", "gpt-realtime-2025-08-28")))
    call(typed(), create(), begins(), ends())
    call.wait(1_000)
    call(replace(lost(), error=LegError.CLOSED))
    call.wait(20_000)
    first, second = call.call.dials
    assert (first.cause, first.attempt, first.target, first.begin_ms, first.ready_ms, first.lost_ms, first.error) == (
        *(DialCause.START, 0, target, 0, 200, 1_200),
        LegError.CLOSED,
    )
    assert (first.model_session, first.served) == ("sess_m", "gpt-realtime-2025-08-28")
    assert (second.cause, second.ready_ms, second.error) == (DialCause.LOST, None, LegError.TIMEOUT)
    assert second.lost_ms == 7_200  # the dial's limit, and a moment for its report


def test_a_call_keeps_only_its_first_dials() -> None:
    call = Driver(setup=model_setup(answers=False))
    for number in range(MAX_DIALS + 5):
        call(typed(f"text_{number}"), create(), begins(f"resp_{number}"), ends(f"resp_{number}"), lost(), ModelReady())
    assert len(call.call.dials) == MAX_DIALS
    assert call.call.summary(call.now_ms).redials == MAX_DIALS + 5
    last = call.call.dials[-1]
    assert (last.attempt, last.error) == (MAX_DIALS - 1, LegError.CLOSED)


def test_the_cost_of_a_turn_without_prices_is_unknown_and_never_zero() -> None:
    call = Driver()
    call(hears(), heard(), taken(), begins(), ends(usage=USED))
    assert call.call.turns[0].cost_nano is None
    assert call.call.summary(call.now_ms).cost_nano is None
    assert Driver().call.summary(0).cost_nano == 0  # nothing was used


def test_a_response_that_runs_as_the_call_ends_leaves_the_cost_unknown() -> None:
    call = Driver(target=ModelTarget("test/tokens"), pricing=PaidPrices())
    call(hears(), heard(), taken(), begins(), ends(usage=TokenUsage(output_text=5)))
    assert call.call.summary(call.now_ms).cost_nano == 5
    call(hears("item_2"), heard("item_2"), taken("item_2"), begins("resp_2"), hung_up())
    assert [turn.cost_nano for turn in call.call.turns] == [5, None]
    assert call.call.summary(call.now_ms).cost_nano is None


def test_responses_beside_the_conversation_that_report_nothing_leave_the_cost_unknown() -> None:
    for last in (ends(), hung_up(), lost()):
        call = Driver(target=ModelTarget("test/tokens"), pricing=PaidPrices())
        call(create(out_of_band=True), begins(out_of_band=True), last)
        assert call.call.summary(call.now_ms).cost_nano is None, last
