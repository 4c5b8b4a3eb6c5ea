"""Problems that a model reports: as short plain words, in the record, and counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calls.call_driver import Driver, begins, create, ends, hears, model_setup, of, says, typed

from sessions.commands import Command, EndCall, NoteProblem, Refuse, Relay
from sessions.events import ModelLost, ModelReady, ModelRefused, ResponseEnded
from sessions.meter import MAX_PROBLEMS
from sessions.problems import ORDINARY, OTHER, ModelProblem, plain, problem_of
from sessions.values import Outcome

QUOTA = ModelProblem("insufficient_quota", "insufficient_quota")


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("server.error-2", "server.error-2"),
        ("429", "429"),
        (429, "429"),
        ("", None),
        (None, None),
        ({"a": 1}, None),
        (True, None),
        ("two words", OTHER),
        ("0170 1234567", OTHER),
        ("01701234567", OTHER),
        ("x" * 65, OTHER),
        ('a"} 1\nb', OTHER),
        ("wörter", OTHER),
        ("a\n", OTHER),
    ],
)
def test_only_short_plain_words_are_kept(word: object, kept: str | None) -> None:
    assert plain(word) == kept


@given(st.text() | st.integers() | st.none() | st.lists(st.integers()), st.text() | st.none())
def test_a_problem_always_has_a_code_that_can_be_a_label(code: object, type: object) -> None:
    problem = problem_of(code, type)
    assert 0 < len(problem.code) <= 64
    assert problem.code.isascii()
    assert not set('"{}\\\n ') & set(problem.code)


def noted(commands: list[Command]) -> list[tuple[str, str]]:
    return [(note.problem.code, note.about) for note in of(NoteProblem, commands)]


def refusal(code: str, event_id: str | None = None) -> ModelRefused:
    return ModelRefused(code, "words that somebody said", event_id, None, problem_of(code, "server_error"))


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.FAILED, "insufficient_quota"), (Outcome.INCOMPLETE, "content_filter")]
)
def test_an_answer_that_came_to_nothing_says_why_in_its_turn(outcome: Outcome, code: str) -> None:
    call = Driver()
    problem = ModelProblem(code, "x")
    call(typed(), create(), begins(), *says("one", 100))
    out = call(ResponseEnded("resp_1", outcome, code, None, None, problem))
    assert noted(out) == [(code, "response")]
    assert call.call.turns[0].problem == problem
    assert call.call.summary(0).problems == ((problem, 1),)
    call(typed("text_2"), create("again"), begins("resp_2"), ends("resp_2"))
    assert [turn.problem for turn in call.call.turns] == [problem, None]


def test_a_request_that_is_refused_says_so_in_the_open_turn() -> None:
    call = Driver()
    out = call(typed(), create("mine"), refusal("rate_limit_exceeded", "mine"))
    assert noted(out) == [("rate_limit_exceeded", "request")]
    assert of(Relay, out) != [] or of(Refuse, out) != []
    problem = call.call.turns[0].problem
    assert problem is not None
    assert problem.code == "rate_limit_exceeded"


def test_an_error_about_nothing_that_we_know_is_noted_and_goes_on() -> None:
    call = Driver()
    out = call(refusal("rate_limit_warning"))
    assert noted(out) == [("rate_limit_warning", "request")]
    assert len(of(Relay, out)) == 1


def test_an_error_that_comes_before_the_session_is_set_up_is_noted() -> None:
    call = Driver(ready=False)
    assert noted(call(refusal("server_error"))) == [("server_error", "request")]
    call(ModelReady())
    assert call.call.summary(0).problems == ((ModelProblem("server_error", "server_error"), 1),)


def test_a_model_that_is_lost_says_why_to_the_record_and_the_client() -> None:
    call = Driver(ready=False)
    out = call(ModelLost("insufficient_quota", False, QUOTA))
    assert noted(out) == [("insufficient_quota", "leg")]
    (end,) = of(EndCall, out)
    assert (end.error_code, end.problem) == ("model_lost", QUOTA)
    assert call.call.summary(0).problems == ((QUOTA, 1),)


def test_ordinary_races_are_no_problems() -> None:
    call = Driver(setup=model_setup(answers=True))
    for code in sorted(ORDINARY):
        assert noted(call(refusal(code, "somebody's"))) == []
    call(hears())
    assert call.call.summary(0).problems == ()


def test_a_record_keeps_a_few_kinds_apart_and_counts_all() -> None:
    call = Driver()
    for number in range(3 * MAX_PROBLEMS):
        call(refusal(f"code_{number}"))
    problems = dict(call.call.summary(0).problems)
    assert len(problems) == MAX_PROBLEMS + 1
    assert sum(problems.values()) == 3 * MAX_PROBLEMS
    assert problems[ModelProblem(OTHER, OTHER)] == 2 * MAX_PROBLEMS
