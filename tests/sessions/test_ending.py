from __future__ import annotations

from support.calls.call_driver import (
    Driver,
    asked,
    begins,
    ends,
    finished,
    hears,
    hung_up,
    kinds,
    of,
    refuses,
    says,
    sounds,
    wants,
)

from sessions.answering import RETRY_MS
from sessions.commands import EndCall
from sessions.ending import LEAVE_AFTER_MS, LEAVE_LIMIT_MS


def ends_call_at(call: Driver, limit_ms: int) -> int | None:
    """After how many milliseconds, in steps of ten, the call ends."""
    for waited_ms in range(0, limit_ms + 1, 10):
        if of(EndCall, call.commands):
            return waited_ms
        call.wait(10)
    return None


def test_an_agent_that_says_goodbye_and_hangs_up_is_heard_to_the_end() -> None:
    call = Driver()
    call(begins(), *says("Goodbye!", 900), wants("hang_up"), ends(), finished(hang_up=True))
    assert asked(call.commands) == []
    assert ends_call_at(call, 5_000) == 1_100
    assert call.call.end_reason == "agent_hung_up"
    assert call.said == [("agent", "Goodbye!"), ("hang_up", "done")]


def test_an_agent_that_hangs_up_without_a_word_is_asked_for_its_goodbye_first() -> None:
    call = Driver()
    call(begins(), wants("hang_up"), ends())
    assert len(asked(call(finished(hang_up=True)))) == 1
    call.wait(5_000)
    call(begins("bye"), *says("Goodbye!", 500, "bye"))
    call.wait(200)
    call(ends("bye"))
    assert ends_call_at(call, 5_000) == 500


def test_a_goodbye_that_never_comes_does_not_keep_the_call() -> None:
    call = Driver()
    call(begins(), wants("hang_up"), ends(), finished(hang_up=True), begins("bye"))
    assert ends_call_at(call, LEAVE_LIMIT_MS + 100) == LEAVE_LIMIT_MS


def test_a_goodbye_that_the_model_refuses_does_not_keep_the_call() -> None:
    call = Driver()
    call(begins(), wants("hang_up"), ends(), finished(hang_up=True))
    call(refuses(asked(call.commands)[-1].request_id, "server_error"))
    call(refuses(asked(call.wait(RETRY_MS))[-1].request_id, "server_error"))
    assert ends_call_at(call, 5_000) == 200


def test_a_caller_who_says_goodbye_too_does_not_keep_the_call() -> None:
    call = Driver()
    call(begins(), *says("Goodbye!", 900), wants("hang_up"), ends(), finished(hang_up=True))
    call.wait(500)
    call(hears())
    assert ends_call_at(call, 5_000) == 600


def test_a_goodbye_that_takes_longer_to_play_is_heard_to_the_end() -> None:
    call = Driver()
    call(begins(), *says("Goodbye!", 900), wants("hang_up"), ends(), finished(hang_up=True))
    call.wait(500)
    call(sounds(1_000, "resp_2", "more"))  # behind what plays until 900
    assert ends_call_at(call, 5_000) == 1_600


def test_a_goodbye_without_end_does_not_keep_the_call() -> None:
    call = Driver()
    call(begins(), *says("Goodbye!", 900), wants("hang_up"), ends(), finished(hang_up=True))
    call(sounds(60_000, "resp_2", "more"))
    assert ends_call_at(call, 20_000) == LEAVE_AFTER_MS


def test_a_tool_that_fails_does_not_hang_up() -> None:
    call = Driver()
    call(begins(), *says("Goodbye!", 900), wants("hang_up"), ends(), finished())
    assert ends_call_at(call, 20_000) is None


def test_tools_that_run_at_the_end_are_stopped() -> None:
    call = Driver()
    call(begins(), wants("find"), wants("on_screen", "theirs"))
    assert kinds(call(hung_up())) == ["EndCall", "StopTool", "DropModel", "SaveTurn"]
