"""Which pieces of a recording belong to which observation."""

from __future__ import annotations

from typing import Any

import orjson
from support.telemetry.telemetry_records import SESSION, agent, call_document, caller, document_of, turn_of

from gateway.telemetry.langfuse.sound import MARGIN_MS, MAX_TURNS, Order, Side, order_of, pieces_of, ready_recording
from gateway.telemetry.spans import ids
from gateway.telemetry.spans.policy import Shape
from sessions.accounts import SpeechStretch
from sessions.record import Heard
from sessions.stores.documents import RecordingInfo, RecordingState

READY = RecordingInfo(RecordingState.READY, stereo="recording.flac", rate_hz=24_000, duration_ms=10_000)
CALL = call_document(recording=READY)


def order(*turns: Any) -> Order:
    found = order_of(CALL, [document_of(turn) for turn in turns])
    assert found is not None
    return found


def test_only_a_finished_recording_with_sound_is_sent() -> None:
    assert ready_recording(CALL) == "recording.flac"
    for info in (
        RecordingInfo(RecordingState.RUNNING),
        RecordingInfo(RecordingState.FAILED, stereo="recording.flac"),
        RecordingInfo(RecordingState.READY, events="events.jsonl"),
        RecordingInfo(RecordingState.OFF),
    ):
        assert ready_recording(call_document(recording=info)) is None
        assert order_of(call_document(recording=info), []) is None
    assert ready_recording(document_of(turn_of())) is None


def test_a_turn_is_cut_where_its_sides_were_heard() -> None:
    turn = turn_of(3, speech=[SpeechStretch(1_000, 1_400), SpeechStretch(1_600, 1_900), SpeechStretch(3_000)])
    assert order(turn).turns == [[3, 800, 2_100, 2_200, 3_800]]


def test_what_was_sent_and_not_heard_is_no_part_of_it() -> None:
    entries = [
        caller("Hello?"),
        agent("Yes, I", begin_ms=2_400, heard_ms=500, sent_ms=9_000),
        agent("unheard", item_id="item_b", begin_ms=3_000, heard_ms=0, sent_ms=5_000),
        agent("typed", item_id="item_c", begin_ms=9_000, heard_ms=0, sent_ms=0, spoken=False, heard=Heard.ESTIMATED),
    ]
    assert order(turn_of(entries=entries)).turns == [[0, 800, 2_100, 2_200, 2_900 + MARGIN_MS]]


def test_a_side_that_was_silent_has_no_piece_and_a_silent_turn_none_at_all() -> None:
    greeting = turn_of(0, speech=[], entries=[agent("Hello.", begin_ms=50, heard_ms=900)])
    ignored = turn_of(1, entries=[caller("Hm.")])
    nothing = turn_of(2, speech=[], entries=[])
    found = order(nothing, ignored, greeting)
    assert found.turns == [[0, -1, -1, 0, 1_150], [1, 800, 2_100, -1, -1]]
    sides = [(piece.side, piece.begin_ms, piece.end_ms) for piece in pieces_of(found, Shape.TURN)]
    assert sides == [(Side.BOTH, 0, None), (Side.AGENT, 0, 1_150), (Side.CALLER, 800, 2_100)]


def test_pieces_have_the_ids_of_the_spans() -> None:
    found = order(turn_of(201))
    for shape in Shape:
        whole, caller_side, agent_side = pieces_of(found, shape)
        assert (whole.trace_id, whole.field) == (ids.call_trace(SESSION).hex(), "output")
        assert whole.observation_id == ids.span_id(SESSION, None, "call").hex()
        assert (caller_side.field, agent_side.field) == ("input", "output")
        for piece in (caller_side, agent_side):
            assert piece.trace_id == ids.turn_trace(SESSION, 201, shape).hex()
            assert piece.observation_id == ids.turn_span(SESSION, 201).hex()
    assert pieces_of(found, Shape.CALL)[1].trace_id != pieces_of(found, Shape.TURN)[1].trace_id


def test_an_order_travels_as_json_and_is_bounded() -> None:
    found = order(*(turn_of(index) for index in range(3)))
    assert Order.from_json(orjson.loads(orjson.dumps(found.as_json()))) == found
    one = document_of(turn_of())
    many = order_of(CALL, [{**one, "index": index} for index in range(MAX_TURNS + 10)])
    assert many is not None
    assert len(many.turns) == MAX_TURNS
    assert len(orjson.dumps(many.as_json())) < 128 * 1024


def test_a_turn_that_cannot_be_read_costs_itself_only() -> None:
    found = order_of(CALL, [{"type": "turn"}, document_of(turn_of(1))])
    assert found is not None
    assert [turn[0] for turn in found.turns] == [1]
