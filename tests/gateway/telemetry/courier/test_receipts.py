"""Which lines of the server are done with."""

from __future__ import annotations

from gateway.telemetry.courier.receipts import DocumentKey, Receipts

SESSION: DocumentKey = ("default", "s", "session")
TURN: DocumentKey = ("default", "s", "turn_00000")


def made() -> tuple[Receipts, list[int]]:
    done: list[int] = []
    receipts = Receipts(done.append)
    receipts.arrived(SESSION, 1, 100)
    receipts.arrived(TURN, 2, 200)
    return receipts, done


def test_a_turn_is_done_once_the_last_destination_is() -> None:
    receipts, done = made()
    receipts.begun("s", "turn/0", [TURN], {"otlp", "langfuse"})
    receipts.has("s", "turn/0", "otlp")
    assert done == []
    receipts.has("s", "turn/0", "langfuse")
    assert done == [2]


def test_a_session_is_done_last() -> None:
    receipts, done = made()
    receipts.begun("s", "turn/0", [TURN], {"otlp"})
    receipts.begun("s", "call", [], {"otlp"})
    assert not receipts.over("s")
    assert not receipts.has("s", "turn/0", "otlp")
    assert receipts.has("s", "call", "otlp")
    assert done == [2, 1]


def test_of_a_session_that_is_over_and_sent_nothing_is_kept() -> None:
    receipts, done = made()
    assert receipts.over("s")
    assert sorted(done) == [1, 2]
    assert receipts.size_bytes([SESSION, TURN]) == 0


def test_only_the_newest_line_of_a_document_counts() -> None:
    receipts, done = made()
    receipts.arrived(TURN, 7, 300)
    assert receipts.size_bytes([TURN]) == 300
    receipts.settled([TURN])
    assert done == [7]
    receipts.settled([TURN])
    assert done == [7]
