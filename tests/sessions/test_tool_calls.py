from __future__ import annotations

from sessions.tool_calls import Job, ToolLedger


def job(call_id: str, due_ms: int = 1_000) -> Job:
    return Job(call_id, f"item_{call_id}", "find", "{}", "r1", 0, due_ms)


def test_a_call_is_started_and_finished_once() -> None:
    tools = ToolLedger()
    round_ = tools.round("r1", {"topic": "tables"})
    assert tools.start(round_, job("a"))
    assert not tools.start(round_, job("a"))
    found = tools.finish("a")
    assert found is not None
    assert found[1] is round_
    assert tools.finish("a") is None
    assert tools.finish("unknown") is None


def test_a_round_is_complete_with_its_last_result() -> None:
    tools = ToolLedger()
    round_ = tools.round("r1", None)
    tools.start(round_, job("a"))
    tools.start(round_, job("b"))
    tools.finish("a")
    assert not round_.outputs_in
    assert [running.call_id for running in tools.running] == ["b"]
    tools.finish("b")
    assert round_.outputs_in


def test_a_client_is_held_from_the_end_of_the_answer_until_the_last_result() -> None:
    tools = ToolLedger()
    round_ = tools.round("r1", None)
    tools.start(round_, job("a"))
    assert not tools.hold_client
    round_.over = True
    assert tools.hold_client
    tools.finish("a")
    assert not tools.hold_client


def test_the_first_call_that_is_due() -> None:
    tools = ToolLedger()
    assert tools.deadline_ms is None
    round_ = tools.round("r1", None)
    tools.start(round_, job("a", 2_000))
    tools.start(round_, job("b", 1_000))
    assert tools.deadline_ms == 1_000
    tools.finish("b")
    assert tools.deadline_ms == 2_000
    tools.finish("a")
    assert tools.deadline_ms is None


def test_a_closed_round_is_forgotten() -> None:
    tools = ToolLedger()
    round_ = tools.round("r1", None)
    tools.start(round_, job("a"))
    assert (tools.find("r1"), tools.round("r1", None), tools.rounds) == (round_, round_, (round_,))
    tools.close(round_)
    assert (tools.find("r1"), tools.rounds, tools.finish("a")) == (None, (), None)
