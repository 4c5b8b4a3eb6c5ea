"""The ledger and the play-out beside a simulated far end: is it true what the ledger says was heard?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calls.far_end import PhoneCall

from audio.formats import PCMU_8K
from audio.playout import FarEndRules, Framing

FRAME_MS = 20
EXACT = FarEndRules(PCMU_8K, 0, Framing.ONE)
TWILIO = FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200)
ASTERISK = FarEndRules(PCMU_8K, 200, Framing.WHOLE, mark_every_ms=100)
COUNTED = FarEndRules(PCMU_8K, 200, Framing.WHOLE, mark_every_ms=200, counts_dropped=True)
COUNTED_ANY = FarEndRules(PCMU_8K, 400, Framing.ANY, counts_dropped=True)
CLOCK_ONLY = FarEndRules(PCMU_8K, 200, Framing.ONE)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from((1, 7, 20, 33, 100, 700))),
        st.tuples(st.just("say"), st.sampled_from((20, 100, 700))),
        st.tuples(st.just("pass"), st.sampled_from((1, 7, 20, 33, 150, 900))),
        st.tuples(st.sampled_from(("finish", "interrupt")), st.just(0)),
        st.tuples(st.just("stall"), st.sampled_from((5, 30, 70, 300, 1_500))),
        st.tuples(st.just("other item"), st.just(0)),
    ),
    max_size=40,
)


@given(rules=st.sampled_from((EXACT, TWILIO, ASTERISK, CLOCK_ONLY)), story=steps, echo_ms=st.sampled_from((0, 60)))
def test_the_ledger_and_the_play_out_agree_to_a_frame(
    rules: FarEndRules, story: list[tuple[str, int]], echo_ms: int
) -> None:
    call = PhoneCall(rules, delay_ms=0, echo_ms=echo_ms, echoes_at_clear=True)
    items = 0
    for name, number in [*story, ("pass", 20)]:
        match name:
            case "say":
                call.say(f"item {items}", number)
            case "pass":
                call.pass_ms(number)
            case "finish":
                call.finish()
            case "stall":
                call.stall(number)
            case "other item":
                items += 1
            case _:
                said_ms = call.interrupt()
                items += 1
                call.pass_ms(150)
                assert call.ear.cleared_heard_ms is not None
                assert abs(said_ms - call.ear.cleared_heard_ms) <= (FRAME_MS if rules.ahead_ms else 1), name
    call.finish()
    if rules.ahead_ms and call.world.now_ms >= call.stalled_until_ms:
        assert abs(call.heard_ms - call.ear.heard_ms) <= FRAME_MS
    call.pass_ms(40_000)
    assert abs(call.heard_ms - call.ear.heard_ms) <= 1  # all that was said, in the end


@given(rules=st.sampled_from((COUNTED, COUNTED_ANY)), story=steps, seed=st.integers(0, 99))
def test_a_far_end_that_counts_what_it_drops_is_right_whatever_the_network_did(
    rules: FarEndRules, story: list[tuple[str, int]], seed: int
) -> None:
    call = PhoneCall(rules, delay_ms=80, jitter_ms=65, seed=seed)
    items = before_ms = 0
    for name, number in [*story, ("interrupt", 0)]:
        match name:
            case "say":
                call.say(f"item {items}", number)
            case "pass":
                call.pass_ms(number)
            case "finish":
                call.finish()
            case "stall":
                call.stall(number)
            case "other item":
                items += 1
            case _:
                call.interrupt()
                items += 1
                call.pass_ms(400)  # longer than the ways there and back
                assert call.ear.cleared_heard_ms is not None
                assert abs(call.all_heard_ms - before_ms - call.ear.cleared_heard_ms) <= 10, name
                before_ms = call.all_heard_ms


def errors_ms(rules: FarEndRules, *, jitter_ms: float, delays_ms: tuple[float, float], calls: int = 25) -> list[float]:
    """Interrupt answers at random, eight in each call. Returns what the ledger has too much of each."""
    chance = random.Random(11)
    found: list[float] = []
    for seed in range(calls):
        delay_ms = chance.uniform(*delays_ms)
        call = PhoneCall(rules, delay_ms=delay_ms, jitter_ms=jitter_ms, seed=seed, echoes_at_clear=True)
        for answer in range(8):
            call.pass_ms(chance.uniform(300, 900))
            for _ in range(50):
                call.say(f"item {answer}", 100)
                call.pass_ms(10)
            call.finish()
            call.pass_ms(chance.uniform(0, 4_000))
            said_ms = call.interrupt()
            call.pass_ms(600)
            assert call.ear.cleared_heard_ms is not None
            found.append(said_ms - call.ear.cleared_heard_ms)
    return found


def p95(errors: list[float]) -> float:
    return sorted(map(abs, errors))[int(len(errors) * 0.95)]


def test_with_marks_every_200_ms_and_a_round_trip_of_60_the_error_is_below_a_frame() -> None:
    errors = errors_ms(TWILIO, jitter_ms=0, delays_ms=(30, 30))
    assert len(errors) == 200
    assert max(map(abs, errors)) <= FRAME_MS


@pytest.mark.parametrize(
    ("rules", "limit_ms"),
    [(EXACT, 1), (CLOCK_ONLY, 40), (ASTERISK, 40), (TWILIO, 40)],
    ids=lambda value: str(value)[:0],
)
def test_interruptions_in_jitter_are_placed_well(rules: FarEndRules, limit_ms: float) -> None:
    errors = errors_ms(rules, jitter_ms=20, delays_ms=(20, 150))
    assert p95(errors) <= limit_ms
    assert abs(sum(errors) / len(errors)) <= 10


def test_marks_show_a_network_that_stood_still() -> None:
    """The far end runs dry in mid-answer for some 300 ms: without marks nothing would say so."""
    errors: dict[bool, float] = {}
    for marks in (True, False):
        rules = FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200 if marks else None)
        call = PhoneCall(rules, delay_ms=50)
        call.say("item", 8_000)
        call.finish()
        call.pass_ms(3_000)
        call.out.stalled_until_ms = call.world.now_ms + 600
        call.pass_ms(2_000)
        said_ms = call.interrupt()
        call.pass_ms(200)
        assert call.ear.cleared_heard_ms is not None
        errors[marks] = said_ms - call.ear.cleared_heard_ms
    assert abs(errors[True]) <= FRAME_MS
    assert errors[False] > 140
