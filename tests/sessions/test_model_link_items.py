"""The items of the conversation that a new leg of the model is given after another one was lost."""

from __future__ import annotations

from support.calls.call_driver import (
    Driver,
    answered,
    begins,
    deletes,
    ends,
    finished,
    holds,
    kinds,
    lost,
    of,
    refuses,
    says,
    seeded,
    typed,
    wants,
    wants_gone,
    wrote,
    wrote_call,
)

from sessions.commands import AddItem, AddToolOutput, Command, DeleteItem, Relay, Seed
from sessions.events import ModelReady
from sessions.past import PastMessage, PastToolCall


def test_what_the_client_deleted_no_later_leg_is_told() -> None:
    call = Driver()
    call(typed("t1", "my card number is 4111"), typed("t2", "and a table for two"), begins(), wants("find"), finished())
    call(*says("Yes.", 100, item_id="agent_1"), ends())
    call.wait(100)
    relayed = call(deletes("t1"), deletes("agent_1"), deletes("item_of_call_1"))
    assert len(of(Relay, relayed)) == 3
    call(lost(), ModelReady())
    assert seeded(call) == [PastMessage("t2", "user", "and a table for two")]
    assert ("caller", "my card number is 4111") in call.said  # it was said all the same


def test_what_the_model_refused_no_later_leg_is_told() -> None:
    call = Driver()
    call(typed("t1", "one"), refuses("create t1", "invalid_value"), typed("t2", "two"), lost(), ModelReady())
    assert seeded(call) == [PastMessage("t2", "user", "two")]


def test_what_the_client_wrote_of_an_earlier_talk_a_later_leg_is_told() -> None:
    call = Driver()
    call(typed("t1", "one"), wrote("w1", "You called yesterday."), wrote_call("c1", "call_old"))
    call(answered("call_old", "a regular"), typed("t2", "two"), wrote("w2", "Refused."), refuses("create w2", "no"))
    call(
        wrote("w3", "Deleted."),
        deletes("w3"),
        wrote("t1", "of an id that is taken"),
        wrote("w4", "Be brief.", "system"),
    )
    call(lost(), ModelReady())
    assert seeded(call) == [
        PastMessage("t1", "user", "one"),
        PastMessage("w1", "assistant", "You called yesterday."),
        PastToolCall("c1", "call_old", "weather", "{}", "a regular"),
        PastMessage("t2", "user", "two"),
        PastMessage("w4", "system", "Be brief."),
    ]
    assert call.said == [("caller", "one"), ("caller", "two")]  # nobody said the rest


def wires(out: list[Command]) -> list[bytes | None]:
    """The client's messages that were told to the model, items first."""
    return [told.wire and told.wire.text for told in [*of(AddItem, out), *of(AddToolOutput, out)]]


def test_a_second_item_of_a_written_ones_id_changes_nothing() -> None:
    call = Driver()
    call(wrote("w1", "first"), wrote("w1", "second"), typed("w1", "third"), refuses("create w1", "no"))
    call(lost(), ModelReady())
    assert seeded(call) == [PastMessage("w1", "assistant", "first")]
    assert call.said == []


def test_what_is_written_while_the_next_leg_is_dialled_reaches_it_once() -> None:
    call = Driver()
    call(begins(), lost(), wrote("w1"), wrote_call("c1", "call_old"), answered("call_old"))
    out = call(ModelReady())
    assert not {"w1", "c1"} & {past.item_id for past in seeded(call)}
    assert wires(out) == [b"w1", b"call:c1", b"output:call_old"]


def test_the_result_of_a_written_call_comes_with_it_to_a_leg_that_has_not_heard_of_it() -> None:
    call = Driver()
    call(wrote_call("c1", "call_old"), lost(), ModelReady())
    assert seeded(call) == []
    assert of(AddToolOutput, call(answered("call_old", "late"))) == []
    assert seeded(call) == [PastToolCall("c1", "call_old", "weather", "{}", "late")]


def test_an_item_that_the_client_deletes_and_creates_once_more_is_told_as_it_is_now() -> None:
    call = Driver()
    call(
        typed("t1", "for two"), holds("t1"), wrote("w1", "For two, then."), holds("w1"), typed("t2", "yes"), holds("t2")
    )
    call(typed("t1", "for three", images=1), wrote("w1", "For three, then."))  # their deletions are on the way
    call(deletes("t1"), holds("t1"), deletes("w1"), holds("w1"))
    call(lost(), ModelReady())
    assert seeded(call) == [
        PastMessage("t2", "user", "yes"),
        PastMessage("t1", "user", "for three [1 image(s), no longer here]"),
        PastMessage("w1", "assistant", "For three, then."),
    ]


def test_an_item_that_is_created_once_more_when_it_is_gone_is_told_as_well() -> None:
    call = Driver()
    call(wrote("w1", "old"), holds("w1"), deletes("w1"), typed("w1", "new"), holds("w1"))
    call(wrote("w2", "old"), holds("w2"), deletes("w2"), wrote("w2", "new"), holds("w2"))
    call(lost(), ModelReady())
    assert seeded(call) == [PastMessage("w1", "user", "new"), PastMessage("w2", "assistant", "new")]


def test_a_second_item_of_an_id_that_is_not_free_is_never_told() -> None:
    call = Driver()
    call(wrote("w1", "first"), wrote("w1", "second"), holds("w1"), refuses("create w1", "no"), deletes("w1"))
    call(lost(), ModelReady())
    assert seeded(call) == []


def test_what_the_lost_leg_never_confirmed_the_client_sees_when_the_next_one_does() -> None:
    call = Driver()
    call(typed("t1"), holds("t1"), wrote("w1"), holds("w1"), typed("t2"), wrote("w2"), wrote_call("c1", "call_old"))
    call(answered("call_old"), wrote("t1", "of an id that is taken"), lost())
    seed = of(Seed, call(ModelReady()))[0]
    assert [past.item_id for past in seed.past] == ["t1", "w1", "t2", "w2", "c1"]
    assert seed.unseen == {"t2", "w2", "c1"}
    call(holds("t2"), holds("w2"), holds("c1"), begins(), ends(), lost())
    assert of(Seed, call(ModelReady()))[0].unseen == set()


def test_the_result_of_a_written_call_that_still_waits_follows_it() -> None:
    call = Driver(ready=False)
    call(wrote_call("c1", "call_old"), lost(), answered("call_old"))
    out = call(ModelReady())
    assert wires(out) == [b"call:c1", b"output:call_old"]
    assert seeded(call) == []


def test_what_was_written_behind_a_message_that_is_refused_keeps_its_place() -> None:
    call = Driver()
    call(typed("t0"), wrote("w0"), refuses("create t0", "invalid_value"))
    call(typed("t1"), holds("t1"), typed("t2"), wrote("w1"), refuses("create t2", "invalid_value"), typed("t3"))
    call(lost(), ModelReady())
    assert [past.item_id for past in seeded(call)] == ["w0", "t1", "w1", "t3"]


def test_what_the_client_deleted_and_the_lost_leg_did_not_is_deleted_from_the_next() -> None:
    call = Driver()
    call(typed("t1", "my card number is 4111"), holds("t1"), typed("t2"), holds("t2"))
    call(wants_gone("t0"), refuses("delete t0", "item_delete_invalid_item_id"))
    call(wants_gone("t2"), deletes("t2"), wants_gone("t1"), lost())
    out = call(ModelReady())
    assert kinds(out) == ["Seed", "DeleteItem"]
    assert of(DeleteItem, out)[0].wire.text == b"delete:t1"
    assert kinds(call(deletes("t1"), begins(), ends(), lost(), ModelReady()))[-1] != "DeleteItem"
    assert seeded(call)[-1] == PastMessage("t1", "user", "my card number is 4111")  # only the second leg was given it
