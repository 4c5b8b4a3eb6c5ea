from __future__ import annotations

from support.calls.call_driver import wants_gone

from sessions.leg_knowledge import MAX_UNCONFIRMED, LegKnowledge
from sessions.past import PastMessage


def message(item_id: str, text: str = "hello") -> PastMessage:
    return PastMessage(item_id, "user", text)


def redialled(knowledge: LegKnowledge) -> LegKnowledge:
    """This knowledge, once the next leg has been dialled."""
    knowledge.lost()
    knowledge.generation += 1
    return knowledge


# ---- items


def test_a_leg_has_its_own_items_whole_and_not_those_of_an_earlier_one() -> None:
    knowledge = LegKnowledge()
    knowledge.has("a")
    assert knowledge.has_whole("a")
    assert redialled(knowledge).has_whole("unknown")
    assert not knowledge.has_whole("a")
    knowledge.has("a")
    assert knowledge.has_whole("a")
    assert knowledge.items == 1


def test_what_the_client_writes_is_history_behind_what_is_there() -> None:
    knowledge = LegKnowledge()
    knowledge.write(message("w"), "a")
    assert knowledge.has_whole("w")
    assert knowledge.history.among([message("a"), message("b")], ["a", "b"]) == [
        message("a"),
        message("w"),
        message("b"),
    ]


def test_an_item_is_unseen_until_it_is_taken_or_refused() -> None:
    knowledge = LegKnowledge()
    for item_id in ("a", "b", "c"):
        knowledge.sent(f"create {item_id}", message(item_id), new=True)
    knowledge.sent("create a again", message("a"), new=False)
    assert knowledge.unseen == {"a", "b", "c"}
    assert knowledge.taken("a") is None
    refused = knowledge.refused("create b")
    assert refused is not None
    assert (refused.item_id, refused.new) == ("b", True)
    assert knowledge.refused("create b") is None
    assert knowledge.refused(None) is None
    assert redialled(knowledge).unseen == {"c"}


def test_an_item_that_is_added_again_counts_once_the_first_is_deleted() -> None:
    knowledge = LegKnowledge()
    knowledge.has("a")
    knowledge.sent("again", message("a", "new"), new=False)
    knowledge.gone("a", in_record=False)
    assert knowledge.taken("a") == message("a", "new")
    assert knowledge.taken("a") is None


def test_an_item_that_is_added_again_without_a_deletion_does_not_count() -> None:
    knowledge = LegKnowledge()
    knowledge.sent("again", message("a", "new"), new=False)
    assert knowledge.taken("a") is None


def test_of_unconfirmed_items_the_latest_are_kept() -> None:
    knowledge = LegKnowledge()
    for n in range(MAX_UNCONFIRMED + 1):
        knowledge.sent(f"create {n}", message(f"item {n}"), new=True)
    assert len(knowledge.unseen) == MAX_UNCONFIRMED
    assert "item 0" not in knowledge.unseen


# ---- deletions


def test_an_item_that_is_gone_is_told_to_no_later_leg() -> None:
    knowledge = LegKnowledge()
    knowledge.write(message("w"), None)
    for item_id, in_record in (("w", False), ("said", True), ("unknown", False)):
        knowledge.gone(item_id, in_record=in_record)
    assert knowledge.deleted == {"w", "said"}
    assert "w" not in knowledge.history


def test_deletions_that_a_lost_leg_has_not_answered_are_left_to_the_next() -> None:
    knowledge = LegKnowledge()
    for item_id in ("a", "b", "c"):
        knowledge.delete(wants_gone(item_id))
    knowledge.gone("a", in_record=True)
    knowledge.not_deleted("delete b")
    knowledge.not_deleted(None)
    assert [wanted.item_id for wanted in knowledge.lost()] == ["c"]
    assert knowledge.lost() == ()


# ---- results of tools


def test_a_response_knows_the_results_that_the_model_had_taken_when_it_began() -> None:
    knowledge = LegKnowledge()
    knowledge.output_sent("call")
    knowledge.response_begins()
    assert not knowledge.knows_outputs
    knowledge.output_taken("call")
    assert not knowledge.knows_outputs
    knowledge.response_begins()
    assert knowledge.knows_outputs


def test_results_that_came_with_their_calls_are_known_to_the_second_response() -> None:
    knowledge = LegKnowledge()
    for taken in (False, True):
        knowledge.output_seeded("call")
        if taken:
            knowledge.output_taken("call")
        knowledge.response_begins()
        assert knowledge.knows_outputs is taken
        knowledge.response_begins()
        assert knowledge.knows_outputs


def test_a_new_leg_owes_no_acknowledgement() -> None:
    knowledge = LegKnowledge()
    knowledge.output_sent("a")
    knowledge.output_seeded("b")
    redialled(knowledge).response_begins()
    assert knowledge.knows_outputs
