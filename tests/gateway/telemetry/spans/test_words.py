"""What is left of a document for a courier that must have no words."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from support.stores.records import session_record
from support.telemetry.telemetry_records import (
    CANARY,
    agent,
    call_document,
    calls,
    document_of,
    through_json,
    tool,
    turn_of,
)

from gateway.telemetry.spans.view import TurnView
from gateway.telemetry.spans.words import has_words, result_bytes_of, without_words
from sessions.stores.contract import Document
from sessions.stores.documents import session_document, session_from_document, turn_from_document
from sessions.stores.scores import Score, score_document


@given(calls())
def test_no_word_is_left_and_the_documents_can_still_be_read(call: tuple[Document, list[Document]]) -> None:
    session, turns = call
    for document in (session, *turns):
        bare = without_words(document)
        assert CANARY not in orjson.dumps(bare).decode()
        assert not has_words(bare)
        assert without_words(bare) == bare
    session_from_document(without_words(session))
    for turn in turns:
        turn_from_document(without_words(turn))
        assert result_bytes_of(without_words(turn)) == result_bytes_of(turn)


def test_the_size_of_a_result_is_kept_in_bytes() -> None:
    turn = document_of(turn_of(entries=[agent("x"), tool(output="größe"), tool(call_id="call_8", output=None)]))
    assert TurnView.of(turn).result_bytes == TurnView.of(without_words(turn)).result_bytes == {1: 7}


def test_each_field_of_the_record_is_kept_or_is_known_to_hold_words() -> None:
    session: Any = through_json(session_document(session_record("sess_1"), ttl_s=9))
    assert session.keys() - without_words(session).keys() == {"caller"}
    turn: Any = document_of(turn_of(entries=[agent("x"), tool()]))
    bare: Any = without_words(turn)
    assert turn.keys() - bare.keys() == set()
    pairs = zip(turn["entries"], bare["entries"], strict=True)
    assert all(entry.keys() == kept.keys() - {"output_bytes"} for entry, kept in pairs)


def test_a_scores_comment_and_unknown_documents_are_emptied() -> None:
    score = score_document(call_document(), Score("tone", 4.0, CANARY, 1.0))
    assert CANARY not in str(without_words(score))
    assert without_words(score)["value"] == 4.0
    odd = without_words({"type": "diary", "id": "x", "text": CANARY})
    assert odd == {"type": "diary", "id": "x", "words": False}


def test_a_tools_name_that_the_model_has_made_up_is_a_word() -> None:
    failed = tool(name="call Jane", error="unknown_tool", output='{"error": "There is no tool call Jane."}')
    running = tool(name="call Jane", output=None)
    declared = tool(name="find_table", error="timeout", deadline_ms=8_000)
    clients = tool(name="ask_page", server_side=False, output=None)
    turn = document_of(turn_of(entries=[failed, running, declared, clients, tool(name="of_an_old_record")]))
    entries: Any = without_words(turn)["entries"]
    assert [entry["name"] for entry in entries] == ["other", "other", "find_table", "ask_page", "of_an_old_record"]
