"""What the agent says goes on to the caller until its response is over or is cut short."""

from __future__ import annotations

import pytest
from support.calls.call_driver import (
    Driver,
    begins,
    cancel,
    create,
    ends,
    heard,
    hears,
    hung_up,
    item,
    model_setup,
    of,
    refuses,
    says,
    sounds,
    taken,
    writes,
)

from sessions.commands import CancelResponse, Play, Relay
from sessions.events import AgentText, CallEvent
from sessions.values import Outcome


def answering(**given: object) -> Driver:
    """A call whose agent has said a second of its answer."""
    call = Driver(**given)  # type: ignore[arg-type]
    call(hears(), heard(), taken(), begins(), *says("one two three four", 1_000))
    call.wait(300)
    return call


def more() -> tuple[CallEvent, ...]:
    """What a model that does not stop sends: more of the same item, and another one."""
    words = AgentText("resp_1", "agent_1", " five", True, None)
    return words, sounds(200), *says("six seven", 200, "resp_1", "agent_2")


def said_of(call: Driver, *events: CallEvent) -> list[str]:
    """The words and the sound that went on to the caller."""
    out = call(*events)
    words = [command for command in of(Relay, out) if isinstance(command.event, AgentText)]
    return [type(command).__name__ for command in [*of(Play, out), *words]]


def keeps_what_it_had(call: Driver, heard_ms: int) -> None:
    """The record holds what was said before the cut, and nothing else."""
    call.wait(5_000)
    call(hung_up())
    said = call.item("agent_1")
    assert (said.text, said.sent_ms, said.heard_ms) == ("one two three four", 1_000, heard_ms)
    assert [who for who, _ in call.said] == ["caller", "agent"]
    assert call.call.summary(0).agent_audio_ms == 1_000
    assert [span.item_id for span in call.call.played(call.now_ms)] == ["agent_1"]


@pytest.mark.parametrize("client_plays", [True, False])
def test_what_is_said_after_the_caller_has_interrupted_goes_no_further(client_plays: bool) -> None:
    call = answering(client_plays=client_plays)
    call(hears("item_2"))
    assert said_of(call, *more()) == []
    call(ends("resp_1", Outcome.CANCELLED))
    assert said_of(call, *more()) == []
    call.wait(5_000)
    call(hung_up())
    assert (call.item("agent_1").heard_ms, call.item("agent_1").sent_ms) == (300, 1_000)
    assert [who for who, _ in call.said] == ["caller", "agent", "caller"]


@pytest.mark.parametrize("named", ["resp_1", None])
def test_what_is_said_after_the_client_has_cancelled_goes_no_further(named: str | None) -> None:
    call = answering()
    assert of(CancelResponse, call(cancel(named))) != []
    assert said_of(call, *more()) == []
    call(ends("resp_1", Outcome.CANCELLED))
    assert said_of(call, *more()) == []
    keeps_what_it_had(call, heard_ms=1_000)


def test_what_is_said_after_we_have_cancelled_goes_no_further() -> None:
    call = answering()
    assert of(CancelResponse, call.call.too_much_unsent()) != []
    assert said_of(call, *more()) == []
    keeps_what_it_had(call, heard_ms=1_000)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_is_said_after_the_end_of_its_response_goes_no_further(outcome: Outcome) -> None:
    call = answering()
    call(ends("resp_1", outcome))
    assert said_of(call, *more()) == []
    keeps_what_it_had(call, heard_ms=1_000)


def test_written_words_that_come_after_the_cut_go_no_further() -> None:
    call = Driver()
    call(hears(), heard(), begins(), *writes("Good "))
    call(cancel())
    assert said_of(call, AgentText("resp_1", "agent_1", "day.", False, None)) == []
    assert call.item("agent_1").text == "Good "


def test_what_is_said_beside_the_conversation_ends_likewise() -> None:
    call = Driver()
    call(create("beside", out_of_band=True), begins("aside", out_of_band=True))
    assert said_of(call, *says("well", 100, "aside", "other")) == ["Play", "Relay"]
    call(cancel("aside"))
    assert said_of(call, *says("well", 100, "aside", "other")) == []
    call(create("beside"), begins("again", out_of_band=True), ends("again"))
    assert said_of(call, *says("well", 100, "again", "more")) == []


def test_a_response_that_was_cancelled_before_it_began_says_nothing() -> None:
    call = Driver()
    call(create(), cancel())
    call(begins(), item())
    assert said_of(call, *more()) == []
    call(ends("resp_1", Outcome.CANCELLED), create("again"), begins("resp_2"))
    assert said_of(call, *says("yes", 100, "resp_2", "agent_3")) == ["Play", "Relay"]


def test_a_cancel_costs_one_answer_though_the_request_lost_a_race_and_is_made_again() -> None:
    call = Driver(setup=model_setup(answers=True))
    call(create("mine"), cancel(), begins("own"))  # the model's own answer was in the way, and is the one cancelled
    assert said_of(call, *says("no", 100, "own", "agent_1")) == []
    call(refuses("mine"), ends("own", Outcome.CANCELLED))
    call.wait(2_000)
    call(begins("resp_2"))
    assert said_of(call, *says("yes", 100, "resp_2", "agent_2")) == ["Play", "Relay"]


def test_the_next_answer_is_heard_while_the_cancelled_one_still_comes() -> None:
    call = answering()
    call(cancel(), ends("resp_1", Outcome.CANCELLED), create(), begins("resp_2"))
    assert said_of(call, *says("yes", 100, "resp_2", "agent_3")) == ["Play", "Relay"]
    assert said_of(call, *more()) == []
    assert said_of(call, sounds(100, "resp_2", "agent_3")) == ["Play"]


def test_a_cancel_of_a_response_that_is_not_there_cuts_nothing_short() -> None:
    call = answering()
    call(cancel("resp_9"))
    assert said_of(call, sounds(100)) == ["Play"]


def test_words_that_come_whole_with_the_end_of_a_cut_item_are_those_of_its_sound() -> None:
    call = Driver()
    call(hears(), heard(), begins(), item(), sounds(1_000))
    call.wait(500)
    call(hears("item_2"))
    whole = AgentText("resp_1", "agent_1", "one two three four", True, None, whole=True)
    other = AgentText("resp_1", "agent_2", "never heard", True, None, whole=True)
    assert said_of(call, whole, other) == ["Relay", "Relay"]  # they end the items for the client
    call(ends("resp_1", Outcome.CANCELLED))
    assert [words for who, words in call.said if who == "agent"] == ["one two"]


def test_a_cancelled_model_that_speaks_on_is_not_taken_for_dead() -> None:
    call = answering()
    call(cancel())
    for _ in range(80):
        call.wait(1_000)
        call(sounds(1_000))
    assert call.call.summary(0).redials == 0
