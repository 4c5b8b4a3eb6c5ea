"""A caller presses keys: the model is told them, or the tool that waits for them has them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.calls.call_driver import (
    TOOLS,
    Driver,
    asked,
    begins,
    ends,
    finished,
    heard,
    hears,
    hung_up,
    item,
    kinds,
    lost,
    model_setup,
    of,
    refuses,
    says,
    seeded,
    sounds,
    takes,
    typed,
    wants,
)

from sessions.agent import KeyMode, PhoneRules, ToolRule
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    ClearPlayback,
    RunTool,
    StopTool,
    ToolEnded,
    TruncateItem,
)
from sessions.events import ItemTaken, ModelReady, ToolWanted
from sessions.keys import COLLECT_KEYS
from sessions.line_events import DigitPressed
from sessions.outbox import HELD_COMMANDS
from sessions.past import PastMessage, PastToolCall
from sessions.record import ToolUse, Utterance
from sessions.values import Outcome

DEADLINE_MS = 60_000
TOLD = PhoneRules()
COLLECT = ToolRule(None, COLLECT_KEYS, DEADLINE_MS)


def call(phone: PhoneRules | None = TOLD, *, collect: ToolRule = COLLECT, **changes: Any) -> Driver:
    tools = {**TOOLS, COLLECT_KEYS: collect}
    return Driver(**{"wires": False, "client_plays": False, "server_tools": tools, "phone": phone, **changes})


def keys(driver: Driver, pressed: str, every_ms: int = 200) -> None:
    """The caller presses these keys, one every so many milliseconds."""
    for at, key in enumerate(pressed):
        if at:
            driver.wait(every_ms)
        driver(DigitPressed(key))


def told(driver: Driver) -> list[str]:
    """The messages of keys that the model was told."""
    return [added.entry.text for added in of(AddItem, driver.commands) if isinstance(added.entry, PastMessage)]


def takes_all(driver: Driver) -> None:
    """The model takes all items that it was given."""
    for added in of(AddItem, driver.commands):
        driver(ItemTaken(added.entry.item_id, None))


def collects(driver: Driver, call_id: str = "call_1", response_id: str = "resp_1", **arguments: Any) -> None:
    """The model waits for keys."""
    given = orjson.dumps(arguments).decode()
    driver(ToolWanted(response_id, f"item_of_{call_id}", call_id, COLLECT_KEYS, given, None))


def asks_for_keys(driver: Driver, speech_ms: int = 1_000, **arguments: Any) -> None:
    """The agent asks for keys, and waits for them."""
    driver(begins(), *says("Your number, please.", speech_ms))
    collects(driver, **arguments)
    driver(ends())


def results(driver: Driver) -> list[Any]:
    return [orjson.loads(output.output) for output in of(AddToolOutput, driver.commands)]


def stored(driver: Driver) -> list[str]:
    """The texts of all turns, as they may be stored."""
    texts: list[str] = []
    for index in range(len(driver.call.turns)):
        for entry in driver.call.stored_turn(index).entries:
            both = (entry.text, entry.heard_text) if isinstance(entry, Utterance) else (entry.arguments, entry.output)
            texts.extend(str(text) for text in both)
    return texts


# ---- messages


def test_keys_up_to_the_terminator_are_a_message_that_is_answered() -> None:
    driver = call()
    keys(driver, "12#")
    assert told(driver) == ["12"]
    assert len(asked(driver.commands)) == 1
    assert kinds(driver.commands)[-2:] == ["AddItem", "RequestResponse"]
    (added,) = of(AddItem, driver.commands)
    assert isinstance(added.entry, PastMessage)
    assert (added.entry.role, added.wire) == ("user", None)
    driver(begins(), *says("Two tables.", 500), ends())
    assert driver.said[0] == ("caller", "12")
    assert not driver.item(added.entry.item_id).spoken


def test_keys_before_a_rest_are_a_message_too() -> None:
    driver = call()
    keys(driver, "7")
    driver.wait(1_999)
    assert told(driver) == []
    driver.wait(1)
    assert (told(driver), len(asked(driver.commands))) == (["7"], 1)


def test_the_latency_of_an_answer_to_keys_has_the_rest_in_it() -> None:
    driver = call()
    keys(driver, "7")
    driver.wait(2_300)
    driver(begins(), item(), sounds(200))
    assert driver.call.latencies_ms == (2_300,)


@pytest.mark.parametrize("phone", [None, PhoneRules(keys=KeyMode.OFF)])
def test_where_no_keys_are_wanted_none_are_told(phone: PhoneRules | None) -> None:
    driver = call(phone)
    driver(begins(), *says("Good evening.", 3_000))
    keys(driver, "12#")
    driver.wait(3_000)
    assert (told(driver), asked(driver.commands), of(ClearPlayback, driver.commands)) == ([], [], [])


def test_a_key_that_no_telephone_has_is_ignored() -> None:
    driver = call(idle_ms=5_000)
    keys(driver, "1x")
    driver(DigitPressed(""), DigitPressed("12"))
    driver.wait(2_000)
    assert told(driver) == ["1"]


@pytest.mark.parametrize("mode", list(KeyMode))
def test_a_caller_who_presses_keys_is_there(mode: KeyMode) -> None:
    driver = call(PhoneRules(keys=mode), idle_ms=5_000)
    driver.wait(4_000)
    keys(driver, "1")
    driver.wait(4_999)
    assert driver.call.end_reason is None


def test_keys_that_come_before_the_model_are_told_when_it_is_ready() -> None:
    driver = call(ready=False)
    keys(driver, "12#")
    assert told(driver) == []
    driver(ModelReady())
    assert (told(driver), len(asked(driver.commands))) == (["12"], 1)


def test_a_greeting_does_not_come_between() -> None:
    driver = call(greeting="Hello.")
    driver.wait(400)
    keys(driver, "1")
    driver.wait(2_000)  # the greeting was due in the meantime
    (request,) = asked(driver.commands)
    assert (request.say, told(driver)) == (None, ["1"])
    takes_all(driver)
    driver(begins(), *says("Yes?", 100), ends())
    driver.wait(1_000)
    assert len(asked(driver.commands)) == 1


def test_what_else_is_to_be_said_waits_while_the_caller_presses_keys() -> None:
    driver = call()
    driver(begins(), wants("find"), ends())
    keys(driver, "1")
    driver(finished())
    driver.wait(1_000)
    assert asked(driver.commands) == []
    driver.wait(1_000)
    assert (told(driver), len(asked(driver.commands))) == (["1"], 1)
    takes_all(driver)
    driver(takes(), begins("resp_2"), *says("At seven.", 100, "resp_2", "agent_2"), ends("resp_2"))
    assert len(asked(driver.commands)) == 1  # the answer knew both


def test_a_conversation_that_is_full_takes_no_keys_and_goes_on() -> None:
    driver = call(ready=False)
    for number in range(HELD_COMMANDS):
        driver(typed(f"text_{number}"))
    keys(driver, "12#")
    driver(ModelReady())
    assert len(told(driver)) == HELD_COMMANDS
    assert asked(driver.commands) == []
    assert ("caller", "12") not in driver.said


# ---- who answers them


def test_an_answer_that_did_not_know_the_keys_is_followed_by_one_that_does() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(begins(), *says("Please hold on.", 500))
    keys(driver, "5#")
    assert asked(driver.commands) == []
    takes_all(driver)
    driver(ends())
    assert len(asked(driver.commands)) == 1


def test_an_answer_of_the_models_own_that_knows_the_keys_is_enough() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(hears())
    keys(driver, "5#")
    takes_all(driver)
    driver(heard(), begins(), *says("Five.", 100), ends())
    driver.wait(5_000)
    assert (told(driver), asked(driver.commands)) == (["5"], [])


def test_an_answer_of_the_models_own_that_began_before_it_had_the_keys_is_not_enough() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(hears())
    keys(driver, "5#")
    driver(heard(), begins())
    takes_all(driver)
    driver(*says("Pardon?", 100))
    assert asked(driver.commands) == []
    driver(ends())
    assert len(asked(driver.commands)) == 1


def test_an_answer_that_the_request_crossed_and_that_did_not_know_the_keys_is_not_enough() -> None:
    driver = call()
    keys(driver, "5#")
    (request,) = asked(driver.commands)
    driver(begins())  # by itself
    takes_all(driver)
    driver(refuses(request.request_id), *says("Hm.", 100), ends())
    assert len(asked(driver.commands)) == 2


def test_an_answer_that_the_request_crossed_and_that_knew_the_keys_is_enough() -> None:
    driver = call()
    keys(driver, "5#")
    (request,) = asked(driver.commands)
    takes_all(driver)
    driver(begins(), refuses(request.request_id), *says("Five.", 100), ends())
    driver.wait(5_000)
    assert len(asked(driver.commands)) == 1


def test_two_messages_in_a_row_have_one_answer() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(begins(), *says("Please hold on.", 500))
    keys(driver, "1#2#")
    takes_all(driver)
    driver(ends())
    assert (told(driver), len(asked(driver.commands))) == (["1", "2"], 1)
    driver(begins("resp_2"), ends("resp_2"))
    driver.wait(5_000)
    assert len(asked(driver.commands)) == 1


def test_a_message_that_the_model_refuses_is_not_in_the_record() -> None:
    driver = call()
    keys(driver, "12#")
    (added,) = of(AddItem, driver.commands)
    driver(refuses(added.event_id, "invalid_value"))
    assert ("caller", "12") not in driver.said


# ---- barge-in


def test_a_key_stops_the_agent_and_tells_the_model_what_was_heard() -> None:
    driver = call()
    driver(begins(), *says("For bookings press one, for all else press two.", 4_000))
    driver.wait(1_500)
    out = driver(DigitPressed("1"))
    assert kinds(out) == ["ClearPlayback", "TruncateItem", "CancelResponse"]
    assert of(TruncateItem, out)[0].heard_ms == 1_500
    assert of(CancelResponse, out)[0].response_id == "resp_1"
    assert driver(DigitPressed("2"), sounds(400)) == []  # once, and what comes late is not heard
    driver(ends(outcome=Outcome.CANCELLED))
    assert driver.call.turns[0].interrupted
    driver.wait(2_000)
    assert (told(driver), len(asked(driver.commands))) == (["12"], 1)


def test_a_key_stops_speech_whose_response_is_over() -> None:
    driver = call()
    driver(begins(), *says("For bookings press one.", 4_000), ends())
    driver.wait(1_000)
    assert kinds(driver(DigitPressed("1")))[:2] == ["ClearPlayback", "TruncateItem"]
    assert of(CancelResponse, driver.commands) == []


def test_a_key_leaves_an_answer_alone_that_has_not_begun_to_sound() -> None:
    driver = call()
    driver(begins())
    assert driver(DigitPressed("1")) == []
    driver(wants("find"), ends())
    assert len(of(RunTool, driver.commands)) == 1


def test_a_key_stops_no_tool() -> None:
    driver = call()
    driver(begins(), *says("One moment.", 900), wants("slow"), ends())
    driver(DigitPressed("1"))
    assert of(StopTool, driver.commands) == []


def test_without_barge_in_the_agent_speaks_on() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(begins(), *says("For bookings press one.", 4_000))
    driver.wait(1_000)
    assert driver(DigitPressed("1")) == []


def test_a_key_stops_an_agent_whose_voice_detection_does_not() -> None:
    driver = call(setup=model_setup(interrupts=False))
    driver(begins(), *says("For bookings press one.", 4_000))
    driver.wait(1_000)
    assert "ClearPlayback" in kinds(driver(DigitPressed("1")))


# ---- a tool that waits for keys


def test_keys_go_to_the_tool_that_waits_and_are_no_message() -> None:
    driver = call()
    asks_for_keys(driver, count=4)
    assert of(RunTool, driver.commands) == []
    driver.wait(1_000)
    keys(driver, "4711#")
    driver.wait(5_000)
    assert results(driver) == [{"digits": "4711", "ended_by": "count"}]
    assert (told(driver), len(asked(driver.commands))) == ([], 1)
    assert driver.said[-1] == (COLLECT_KEYS, '{"digits":"4711","ended_by":"count"}')


def test_the_terminator_ends_the_wait() -> None:
    driver = call(PhoneRules(terminator="*"))
    asks_for_keys(driver)
    keys(driver, "12*")
    assert results(driver) == [{"digits": "12", "ended_by": "terminator"}]


def test_a_tool_waits_from_the_end_of_the_question_on() -> None:
    driver = call()
    asks_for_keys(driver, 6_000, timeout=3)
    driver.wait(8_999)
    assert results(driver) == []
    driver.wait(1)
    assert results(driver) == [{"digits": "", "ended_by": "timeout"}]
    assert len(asked(driver.commands)) == 1


def test_each_key_gives_the_caller_more_time_up_to_the_tools_own_deadline() -> None:
    driver = call(collect=ToolRule(None, COLLECT_KEYS, 6_000))
    asks_for_keys(driver, 0, timeout=3)
    keys(driver, "123", every_ms=2_500)
    driver.wait(999)
    assert results(driver) == []
    driver.wait(1)
    assert results(driver) == [{"digits": "123", "ended_by": "timeout"}]


def test_keys_that_were_pressed_before_the_tool_waits_are_its_first_ones() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(begins(), *says("Your number, please.", 1_000))
    keys(driver, "47")
    collects(driver, count=4)
    driver(ends())
    keys(driver, "11")
    assert (results(driver), told(driver)) == ([{"digits": "4711", "ended_by": "count"}], [])


def test_keys_that_were_pressed_before_may_be_all_of_them() -> None:
    driver = call(PhoneRules(barge_in=False))
    driver(begins(), *says("Your number, please.", 1_000))
    keys(driver, "471108")
    collects(driver, count=4)
    assert results(driver) == [{"digits": "4711", "ended_by": "count"}]
    driver(ends())
    assert asked(driver.commands) == []  # the caller is still pressing keys
    driver.wait(2_000)
    assert (told(driver), len(asked(driver.commands))) == (["08"], 1)


def test_a_key_stops_the_question_and_not_the_tool() -> None:
    driver = call(collect=ToolRule(None, COLLECT_KEYS, DEADLINE_MS, stop_on_barge_in=True))
    asks_for_keys(driver, 6_000, count=2)
    driver.wait(1_000)
    keys(driver, "1")
    assert len(of(ClearPlayback, driver.commands)) == 1
    keys(driver, "2")
    assert results(driver) == [{"digits": "12", "ended_by": "count"}]


def test_a_key_cancels_the_answer_that_asked_and_the_tool_still_has_its_result_spoken() -> None:
    driver = call()
    driver(begins(), *says("Your number, please.", 6_000))
    collects(driver, count=2)
    driver.wait(1_000)
    keys(driver, "12")
    assert len(of(CancelResponse, driver.commands)) == 1
    driver(ends(outcome=Outcome.CANCELLED))
    assert (results(driver), len(asked(driver.commands))) == ([{"digits": "12", "ended_by": "count"}], 1)


def test_a_caller_who_speaks_leaves_the_tool_waiting() -> None:
    driver = call()
    asks_for_keys(driver, count=4)
    keys(driver, "47")
    driver(hears(), heard())
    driver(begins("resp_2"), *says("Take your time.", 500, "resp_2", "agent_2"), ends("resp_2"))
    keys(driver, "11")
    assert results(driver) == [{"digits": "4711", "ended_by": "count"}]


def test_a_caller_who_speaks_ends_a_tool_that_may_be_interrupted_and_no_key_is_lost() -> None:
    driver = call(collect=ToolRule(None, COLLECT_KEYS, DEADLINE_MS, stop_on_barge_in=True))
    asks_for_keys(driver, count=4)
    keys(driver, "47")
    driver(hears())
    assert results(driver) == [{"digits": "47", "ended_by": "caller_spoke"}]
    assert of(StopTool, driver.commands) == []
    keys(driver, "1#")
    assert told(driver) == ["1"]


def test_a_second_tool_is_refused_while_the_first_waits() -> None:
    driver = call()
    driver(begins(), *says("Your number, and your code.", 100))
    collects(driver, "call_1", count=2)
    collects(driver, "call_2", count=4)
    driver(ends())
    (refused,) = results(driver)
    assert "collected already" in refused["error"]
    assert driver.said[-1][0] == COLLECT_KEYS
    keys(driver, "12")
    assert results(driver)[1:] == [{"digits": "12", "ended_by": "count"}]
    assert len(asked(driver.commands)) == 1


def test_a_tool_can_wait_again_after_the_first_has_its_keys() -> None:
    driver = call()
    asks_for_keys(driver, count=2)
    keys(driver, "12")
    driver(begins("resp_2"))
    collects(driver, "call_2", "resp_2", count=1)
    driver(ends("resp_2"))
    keys(driver, "3")
    assert [result["digits"] for result in results(driver)] == ["12", "3"]


def test_arguments_that_cannot_be_used_are_refused_in_words() -> None:
    driver = call()
    asks_for_keys(driver, count=99)
    assert results(driver) == [{"error": "count must be a number from 1 to 32."}]
    (ended,) = of(ToolEnded, driver.commands)
    assert ended.error == "tool_execution_error"
    keys(driver, "1#")
    assert told(driver) == ["1"]


def test_where_keys_are_off_the_tool_is_left_to_the_toolbox_which_refuses_it() -> None:
    driver = call(PhoneRules(keys=KeyMode.OFF))
    asks_for_keys(driver)
    assert [run.name for run in of(RunTool, driver.commands)] == [COLLECT_KEYS]


def test_a_tool_of_a_server_that_has_the_same_name_is_run() -> None:
    driver = call(collect=ToolRule("pbx", COLLECT_KEYS))
    asks_for_keys(driver)
    assert len(of(RunTool, driver.commands)) == 1


def test_a_tool_goes_on_waiting_when_the_models_leg_is_replaced() -> None:
    driver = call()
    asks_for_keys(driver, count=2)
    keys(driver, "1")
    driver(lost())
    keys(driver, "2")
    driver(ModelReady())
    (past,) = [one for one in seeded(driver) if isinstance(one, PastToolCall)]
    assert past.output == '{"digits":"12","ended_by":"count"}'
    assert len(asked(driver.commands)) == 1


# ---- the end of the call


def test_a_caller_who_hangs_up_while_a_tool_waits_leaves_the_keys_in_the_record() -> None:
    driver = call()
    asks_for_keys(driver, count=4)
    keys(driver, "47")
    out = driver(hung_up())
    assert kinds(out) == ["EndCall", "DropModel", "SaveTurn"]
    (use,) = [entry for entry in driver.call.turns[0].entries if isinstance(entry, ToolUse)]
    assert (use.output, use.error) == ('{"digits":"47","ended_by":"call_ended"}', "stopped")
    assert driver(DigitPressed("1")) == driver.wait(10_000) == []


def test_keys_that_nobody_was_told_of_are_in_the_record() -> None:
    driver = call()
    keys(driver, "47")
    driver(hung_up())
    assert (driver.said, told(driver)) == ([("caller", "47")], [])


# ---- secret keys


def secret(**changes: Any) -> Driver:
    return call(PhoneRules(keys=KeyMode.SECRET), **changes)


def test_the_model_is_told_secret_keys_and_only_their_number_is_stored() -> None:
    driver = secret()
    assert driver.call.keys_are_secret
    keys(driver, "4711#")
    assert told(driver) == ["4711"]
    takes_all(driver)
    driver(begins(), *says("You typed 4711.", 500), ends())
    driver.wait(1_000)
    assert stored(driver) == ["[4 keys]", "[4 keys]", "You typed [4 keys].", "You typed [4 keys]."]


def test_a_tool_is_given_secret_keys_and_none_are_stored_or_shown() -> None:
    driver = secret()
    asks_for_keys(driver, count=4)
    keys(driver, "4711")
    assert results(driver) == [{"digits": "4711", "ended_by": "count"}]
    driver(begins("resp_2"))
    driver(ToolWanted("resp_2", "item_2", "call_2", "find", '{"pin":"4711"}', None), ends("resp_2"))
    (run,) = of(RunTool, driver.commands)
    assert run.arguments == '{"pin":"4711"}'
    driver(finished("call_2", "4711 is right"))
    assert [output.output for output in of(AddToolOutput, driver.commands)][1] == "4711 is right"
    ended = of(ToolEnded, driver.commands)
    assert [one.output for one in ended] == ['{"digits":"[4 keys]","ended_by":"count"}', "[4 keys] is right"]
    assert ended[1].arguments == '{"pin":"[4 keys]"}'
    assert "4711" not in "".join(stored(driver))


def test_a_new_leg_of_the_model_is_told_secret_keys_again() -> None:
    driver = secret()
    keys(driver, "4711#")
    takes_all(driver)
    driver(begins(), *says("Thank you.", 100), ends())
    asks_for_keys_again = ToolWanted("resp_2", "item_2", "call_2", COLLECT_KEYS, '{"count":3}', None)
    driver(begins("resp_2"), asks_for_keys_again, ends("resp_2"))
    keys(driver, "089")
    driver(lost(), ModelReady())
    texts = [past.text if isinstance(past, PastMessage) else str(past.output) for past in seeded(driver)]
    assert texts[0] == "4711"
    assert '"089"' in texts[-1]
    driver(hung_up())
    assert not {"4711", "089"} & set("".join(stored(driver)).replace('"', " ").split())


@pytest.mark.parametrize("collecting", [True, False])
def test_secret_keys_of_the_last_moment_are_not_stored(collecting: bool) -> None:
    driver = secret()
    if collecting:
        asks_for_keys(driver, count=6)
    keys(driver, "4711")
    driver(hung_up())
    assert "4711" not in "".join(stored(driver))
    assert "[4 keys]" in "".join(stored(driver))


def test_keys_stay_out_of_logs() -> None:
    assert repr(DigitPressed("7")) == "DigitPressed()"
