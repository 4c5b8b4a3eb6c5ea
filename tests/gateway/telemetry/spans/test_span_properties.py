"""What holds for the spans of any call."""

from __future__ import annotations

from hypothesis import given
from support.telemetry.span_check import all_spans, check_sums, check_trees, named, texts_of, whole
from support.telemetry.telemetry_records import CANARY, calls

from gateway.telemetry.spans import names
from gateway.telemetry.spans.dialects import for_azure, for_langfuse, for_otlp
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.words import without_words
from sessions.agent import TelemetryContent
from sessions.stores.contract import Document

TEXT = TelemetryPolicy(content=TelemetryContent.TEXT)


@given(calls())
def test_traces_are_whole_and_the_sums_are_the_records(call: tuple[Document, list[Document]]) -> None:
    session, turns = call
    for shape in Shape:
        spans = all_spans([session, *turns], TelemetryPolicy(shape=shape))
        check_trees(spans, str(session["session_id"]), shape)
        check_sums(spans, turns)
        (total,) = named(spans, names.CALL)
        told = sum(whole(span.attributes.get(names.INPUT_TOKENS, 0)) for span in named(spans, names.INFERENCE))
        assert whole(total.attributes.get(names.INPUT_TOKENS, 0)) == told


@given(calls())
def test_the_same_record_gives_the_same_spans_in_any_order(call: tuple[Document, list[Document]]) -> None:
    session, turns = call
    spans = all_spans([session, *turns])
    mixed = all_spans([*reversed(turns), session, *turns, session])
    assert mixed == spans


@given(calls())
def test_no_word_is_in_any_span_where_content_is_off(call: tuple[Document, list[Document]]) -> None:
    session, turns = call
    spans = all_spans([session, *turns])
    readers = [each for span in spans for each in (for_langfuse(span, TEXT), for_otlp(span), for_azure(span))]
    assert CANARY not in texts_of([*spans, *readers])
    assert all_spans([without_words(each) for each in (session, *turns)], TEXT) == spans


@given(calls())
def test_names_are_bounded_and_printable(call: tuple[Document, list[Document]]) -> None:
    session, turns = call
    for span in all_spans([session, *turns]):
        _, _, named_after = span.name.partition(" ")
        assert len(named_after) <= 64
        assert span.name.isprintable()
        for value in span.attributes.values():
            assert not isinstance(value, str) or (len(value) <= 200 and value.isprintable())
