"""The record of every replay as spans: whole trees, the record's sums, and no word where content is off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import virtual
from support.replays.file import all_replays, load_replay
from support.replays.player import World, within
from support.telemetry.span_check import all_spans, check_sums, check_trees, named, texts_of

from gateway.telemetry.spans import names
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.words import without_words
from sessions.agent import TelemetryContent
from sessions.stores.contract import Document
from sessions.stores.documents import SESSION_ID, TURN

TEXT = TelemetryPolicy(content=TelemetryContent.TEXT)


def documents_of(name: str, folder: Path) -> tuple[Document, list[Document]]:
    """The session's document and those of the turns, as the store has them after the call."""
    replay = load_replay(name)

    async def body(around: World) -> tuple[Document, list[Document]]:
        outcome = await around.call(replay)
        session_id = outcome.session["session_id"]
        store = around.gateway.store
        session = await store.get("default", session_id, SESSION_ID)
        return session, await store.query("default", session_id, TURN)

    return virtual.run(within([replay], folder, body))


def words_of(turns: Sequence[Any]) -> set[str]:
    """The texts of a record that are long enough to be found by chance nowhere else."""
    found = set[str]()
    for entry in (entry for turn in turns for entry in turn["entries"]):
        found |= {entry.get(name) or "" for name in ("text", "heard_text", "arguments", "output")}
    return {text for text in found if len(text) > 6}


@pytest.mark.parametrize("name", all_replays())
def test_a_replays_record_becomes_spans(name: str, tmp_path: Path) -> None:
    session, turns = documents_of(name, tmp_path)
    session_id = str(session["session_id"])
    spans = all_spans([session, *turns])
    check_trees(spans, session_id)
    check_sums(spans, turns)
    assert len(named(spans, names.SETUP)) == len(named(spans, names.CALL)) == 1
    found = texts_of(spans)
    assert not [text for text in words_of(turns) if text in found]
    # What the server hands over where content is off gives the same spans, whatever the courier's own setting.
    bare = [without_words(document) for document in (session, *turns)]
    assert all_spans(bare) == all_spans(bare, TEXT) == spans

    whole = all_spans([session, *turns], TelemetryPolicy(shape=Shape.CALL))
    check_trees(whole, session_id, Shape.CALL)
    check_sums(whole, turns)
    assert len({span.trace_id for span in whole}) == 1

    said = all_spans([session, *turns], TEXT)
    assert [span.span_id for span in said] == [span.span_id for span in spans]
    heard = {entry["heard_text"] for turn in turns for entry in turn["entries"] if entry["kind"] == "said"}
    outputs = texts_of(said)
    assert all(text in outputs for text in heard if text.isascii() and text.isalpha())
