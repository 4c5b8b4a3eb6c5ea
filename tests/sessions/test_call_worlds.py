"""Calls in made-up worlds: far ends that behave, in any order of what they may do, and far ends that do not."""

from __future__ import annotations

import os

from call_driver import (
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
from call_world import MOVES, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions.commands import EndCall, RunTool
from sessions.events import (
    AgentText,
    CallerCommitted,
    CallerPassed,
    CallEvent,
    MarkEchoed,
    ModelPassed,
    ModelReady,
    Outcome,
    SettingsChanged,
)
from sessions.record import ToolUse
from sessions.usage import TokenUsage

EXAMPLES = int(os.environ.get("PATCHBAY_EXAMPLES", "150"))
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# A move, a number to choose by, how long until the next one, and whether the wires stand still meanwhile.
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


@PROFILE
@given(
    moves,
    st.sampled_from((True, True, True, False)),
    st.sampled_from((True, True, False)),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, "Hello!")),
    st.sampled_from((None, 60_000)),
)
def test_far_ends_that_behave_get_all_that_they_are_owed(
    story: list[tuple[str, int, int, bool]],
    connected: bool,
    answers: bool,
    plays: bool,
    faulty: bool,
    greeting: str | None,
    idle_ms: int | None,
) -> None:
    setup = model_setup(answers=answers, interrupts=answers)
    driver = Driver(setup=setup, ready=False, client_plays=plays, greeting=greeting, idle_ms=idle_ms)
    world = World(answers=answers, client_plays=plays, faulty=faulty, driver=driver)
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
    st.builds(MarkEchoed, st.sampled_from(("", "0:20:a", "1:40:b", "0:x:a", "0:99999:c", "::", "0:²:a"))),
    st.builds(
        SettingsChanged,
        st.builds(model_setup, answers=st.booleans(), interrupts=st.booleans(), text_only=st.booleans()),
    ),
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
)
def test_far_ends_that_make_no_sense_do_no_harm(
    story: list[tuple[CallEvent, int]], plays: bool, greeting: str | None
) -> None:
    driver = Driver(client_plays=plays, greeting=greeting)
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
