"""Calls between far ends that behave, in any order of what they may do, and between far ends that do not."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calls.call_driver import (
    TOOLS,
    Driver,
    answered,
    begins,
    caller_audio,
    cancel,
    create,
    deletes,
    ends,
    failed,
    finished,
    heard,
    hears,
    holds,
    hung_up,
    item,
    lost,
    model_setup,
    of,
    refuses,
    saved,
    sounds,
    taken,
    takes,
    transcript,
    truncated,
    typed,
    wants,
    wire,
    wrote,
    wrote_call,
)
from support.calls.call_world import MOVES, World
from support.calls.paid import PaidPrices

from sessions.accounts import ModelTarget
from sessions.agent import KeyMode, PhoneRules
from sessions.commands import Command, EndCall, NoteBudget, RequestResponse, RunTool
from sessions.events import (
    AgentText,
    CallerCommitted,
    CallerPassed,
    CallEvent,
    DigitPressed,
    MarkEchoed,
    ModelPassed,
    ModelReady,
    SettingsChanged,
    ToolWanted,
)
from sessions.line_events import SpeechDropped
from sessions.record import ToolUse
from sessions.usage import TokenUsage
from sessions.values import Outcome

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "150"))
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# A move, its variant, the time until the next one, and whether messages stay under way until then.
moves = st.lists(
    st.tuples(
        st.sampled_from(MOVES),
        st.integers(0, 7),
        st.sampled_from((0, 20, 300, 0, 2_000, 7_000)),
        st.booleans(),
    ),
    min_size=10,
    max_size=60,
)


phones = st.none() | st.builds(PhoneRules, st.sampled_from((KeyMode.TEXT, KeyMode.SECRET)), barge_in=st.booleans())


@PROFILE
@given(
    moves,
    st.sampled_from((True, True, True, False)),
    st.sampled_from((True, True, False)),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, "Hello!")),
    st.sampled_from((None, 60_000)),
    st.sampled_from((True, False)),
    phones,
)
def test_far_ends_that_behave_get_all_that_they_are_owed(
    story: list[tuple[str, int, int, bool]],
    connected: bool,
    answers: bool,
    plays: bool,
    faulty: bool,
    greeting: str | None,
    idle_ms: int | None,
    wires: bool,
    phone: PhoneRules | None,
) -> None:
    setup = model_setup(answers=answers, interrupts=answers)
    rules = {"client_plays": plays, "greeting": greeting, "idle_ms": idle_ms, "phone": phone}
    driver = Driver(setup=setup, ready=False, wires=wires, **rules)
    world = World(answers=answers, client_plays=plays, faulty=faulty, driver=driver, keys=phone is not None)
    world.wait(20)
    world.do("ready" if connected else "type", 0)
    for name, pick, gap_ms, stuck in story:
        world.do(name, pick)
        if not stuck:
            world.carry()
        world.wait(gap_ms)
    world.finish()


ids = st.sampled_from(("a", "b", "c"))
responses = st.sampled_from(("r1", "r2", "r3"))
outcomes = st.sampled_from(tuple(Outcome))
hostile: st.SearchStrategy[CallEvent] = st.one_of(
    st.builds(caller_audio, st.sampled_from((0, 1, 20, 700)), loud=st.booleans()),
    st.builds(typed, ids),
    st.builds(wrote, ids),
    st.builds(wrote_call, ids, ids),
    st.builds(create, st.sampled_from(("c1", "c2")), out_of_band=st.booleans()),
    st.builds(cancel, st.none() | responses),
    st.builds(truncated, ids, st.integers(-50, 5_000)),
    st.builds(answered, ids),
    st.builds(CallerCommitted, st.none()),
    st.builds(CallerPassed, st.just(wire("other"))),
    st.builds(
        SpeechDropped, st.lists(st.tuples(ids, st.sampled_from((-50, 0, 20, 700, 99_999))), max_size=2).map(tuple)
    ),
    st.builds(MarkEchoed, ids | st.just(""), st.sampled_from((-50, 0, 20, 700, 99_999))),
    st.builds(
        SettingsChanged,
        st.builds(model_setup, answers=st.booleans(), interrupts=st.booleans(), text_only=st.booleans()),
    ),
    st.builds(DigitPressed, st.sampled_from(("1", "2", "#", "x"))),
    st.just(ModelReady()),
    st.builds(hears, ids),
    st.builds(heard, ids),
    st.builds(taken, ids),
    st.builds(transcript, ids, final=st.booleans()),
    st.builds(begins, responses, out_of_band=st.booleans()),
    st.builds(item, responses, ids),
    st.builds(sounds, st.sampled_from((0, 1, 20, 700)), responses, ids, loud=st.booleans()),
    st.builds(AgentText, responses, ids, st.sampled_from(("", "word ")), st.booleans(), st.none()),
    st.builds(wants, st.sampled_from((*TOOLS, "on_screen")), ids, responses),
    st.builds(ends, responses, outcomes, st.sampled_from((None, TokenUsage(input_text=1)))),
    st.builds(refuses, st.sampled_from((None, "c1", "pb_1", "pb_2", "pb_3"))),
    st.builds(refuses, st.sampled_from((None, "c1", "pb_1", "pb_2", "pb_3")), st.just("server_error")),
    st.builds(refuses, st.sampled_from(("create a", "create b")), st.just("invalid_value")),
    st.builds(takes, ids),
    st.builds(holds, ids),
    st.builds(deletes, ids),
    st.just(ModelPassed(wire("other"))),
    st.builds(lost, retryable=st.booleans()),
    st.builds(finished, ids, hang_up=st.booleans()),
    st.builds(failed, ids),
)


@PROFILE
@given(
    st.lists(st.tuples(hostile, st.sampled_from((0, 0, 0, 20, 600, 5_000, 40_000))), max_size=60),
    st.booleans(),
    st.sampled_from((None, "Hello!")),
    phones,
)
def test_far_ends_that_make_no_sense_do_no_harm(
    story: list[tuple[CallEvent, int]], plays: bool, greeting: str | None, phone: PhoneRules | None
) -> None:
    driver = Driver(client_plays=plays, greeting=greeting, phone=phone)
    for event, gap_ms in story:
        ended = driver.call.end_reason is not None
        out = driver(event) + driver.wait(gap_ms)
        if ended:
            assert {type(command).__name__ for command in out} <= {"SaveTurn"}
    driver(hung_up())
    ran = [command.call_id for command in of(RunTool, driver.commands)]
    assert len(ran) == len(set(ran))
    for turn in driver.call.turns:
        assert turn.end_ms is not None
        assert turn.begin_ms <= turn.end_ms
        assert turn.index in saved(driver.commands)
        for entry in turn.entries:
            assert isinstance(entry, ToolUse) or 0 <= entry.heard_ms <= entry.sent_ms
    assert all(span.heard_ms >= 0 for span in driver.call.played(driver.now_ms))
    assert len(of(EndCall, driver.commands)) == 1
    assert driver.call.deadline_ms is None


GOODBYE = "We have to stop here."


def paid(cost_nano: int) -> dict[str, Any]:
    """The rules of a call with a budget, whose tokens cost a nano-dollar each."""
    target = ModelTarget("test/tokens")
    return {"pricing": PaidPrices(), "target": target, "cost_nano": cost_nano, "budget_goodbye": GOODBYE}


def nothing_is_begun(commands: list[Command]) -> bool:
    """Whether a call's budget was used up. From then on, only the goodbye may be asked for, and no tool is run."""
    at = next((at for at, one in enumerate(commands) if isinstance(one, NoteBudget) and one.percent == 100), None)
    if at is None:
        return False
    asked = [command.request for command in of(RequestResponse, commands[at:])]
    assert {request.say for request in asked} <= {GOODBYE}
    assert not of(RunTool, commands[at:])
    assert len([note for note in of(NoteBudget, commands) if note.percent == 100]) == 1
    return True


@PROFILE
@given(
    st.lists(st.tuples(hostile, st.sampled_from((0, 0, 0, 20, 600, 5_000))), max_size=60),
    st.booleans(),
    st.integers(1, 3),
)
def test_far_ends_that_make_no_sense_keep_no_call_past_its_budget(
    story: list[tuple[CallEvent, int]], plays: bool, cost_nano: int
) -> None:
    driver = Driver(client_plays=plays, **paid(cost_nano))
    for event, gap_ms in story:
        driver(event)
        driver.wait(gap_ms)
    driver.wait(120_000)
    if nothing_is_begun(driver.commands):
        assert driver.call.end_reason is not None


class Bystander:
    """Stands in the referee's place where a budget breaks its rules: the goodbye is asked for while the caller speaks,
    and tools that are wanted afterwards do not run."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.wanted: set[str] = set()
        self.ended = self.open = False

    def refused(self, event_id: str) -> None:
        """Take no notice."""

    def happened(self, event: CallEvent, now_ms: int, out: list[Command]) -> None:
        if isinstance(event, ToolWanted):
            self.wanted.add(event.call_id)
        self.passed(now_ms, out)

    def passed(self, now_ms: int, out: list[Command]) -> None:
        self.ran |= {command.call_id for command in of(RunTool, out)}


@PROFILE
@given(moves, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 4))
def test_far_ends_that_behave_bring_a_call_to_its_end_once_its_budget_is_used_up(
    story: list[tuple[str, int, int, bool]], answers: bool, plays: bool, faulty: bool, cost_nano: int
) -> None:
    setup = model_setup(answers=answers, interrupts=answers)
    driver = Driver(setup=setup, ready=False, client_plays=plays, **paid(cost_nano))
    world = World(answers=answers, client_plays=plays, faulty=faulty, driver=driver)
    world.referee = Bystander()  # type: ignore[assignment]
    world.wait(20)
    world.do("ready", 0)
    for name, pick, gap_ms, stuck in story:
        world.do(name, pick)
        if not stuck:
            world.carry()
        world.wait(gap_ms)
    for _ in range(30):
        world.carry()
        world.wait(4_000)
    if nothing_is_begun(driver.commands):
        assert driver.call.end_reason is not None
