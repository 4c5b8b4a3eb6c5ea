"""Checks what holds for the spans of every call: one root a trace, parents present, times inside, sums, no words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.telemetry.spans import names
from gateway.telemetry.spans.ids import call_trace
from gateway.telemetry.spans.policy import Shape, TelemetryPolicy
from gateway.telemetry.spans.settled import Settled
from gateway.telemetry.spans.settling import Settling
from gateway.telemetry.spans.span import Span
from sessions.stores.contract import Document

LONG_AFTER_S = 4e9


def all_settled(documents: Iterable[Document], policy: TelemetryPolicy | None = None) -> list[Settled]:
    """Everything that settles of these documents, long after the calls."""
    settling = Settling(policy or TelemetryPolicy())
    for document in documents:
        settling.take(document)
    assert settling.unreadable == 0
    return settling.on_time(LONG_AFTER_S)


def all_spans(documents: Iterable[Document], policy: TelemetryPolicy | None = None) -> list[Span]:
    """The spans of it."""
    return [span for settled in all_settled(documents, policy) for span in settled.spans]


def named(spans: Iterable[Span], name: str) -> list[Span]:
    """The spans of one kind."""
    return [span for span in spans if span.name.partition(" ")[0] == name]


def check_trees(spans: Sequence[Span], session_id: str, shape: Shape = Shape.TURN) -> None:
    """Each trace has one root, each parent is there and holds its children's times, and no id stands twice."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    assert len(by_id) == len(spans), "two spans have one id"
    roots: dict[bytes, list[str]] = {}
    for span in spans:
        assert (len(span.trace_id), len(span.span_id)) == (16, 8)
        assert span.begin_ns <= span.end_ns, span.name
        assert span.error == (names.ERROR_TYPE in span.attributes), span.name
        for event in span.events:
            assert span.begin_ns <= event.at_ns <= span.end_ns, (span.name, event.name)
        if span.parent_id is None:
            roots.setdefault(span.trace_id, []).append(span.name)
            continue
        parent = by_id[span.trace_id, span.parent_id]
        of_call = span.trace_id == call_trace(session_id) and parent.name.startswith(names.SETUP)
        of_part = shape is Shape.CALL and span.name.startswith(names.INVOKE_AGENT)
        if not of_call and not of_part:
            assert parent.begin_ns <= span.begin_ns, (span.name, parent.name)
            assert span.end_ns <= parent.end_ns, (span.name, parent.name)
    assert set(roots) == {span.trace_id for span in spans}, "a trace has no root"
    assert all(len(found) == 1 for found in roots.values()), roots
    for span in spans:
        for link in span.links:
            if link.trace_id == call_trace(session_id):
                assert (link.trace_id, link.span_id) in by_id


def check_sums(spans: Sequence[Span], turns: Iterable[Any]) -> None:
    """What the spans say of use and of hearing is what the turns' documents say, added up."""
    documents = list(turns)
    roots = {span.attributes[names.TURN]: span for span in named(spans, names.INVOKE_AGENT)}
    assert set(roots) == {turn["index"] for turn in documents}
    for turn in documents:
        root = roots[turn["index"]]
        heard = [entry for entry in turn["entries"] if entry["kind"] == "said" and entry["speaker"] == "agent"]
        assert root.attributes[names.HEARD_MS] == sum(entry["heard_ms"] for entry in heard)
        assert root.attributes[names.SENT_MS] == sum(entry["sent_ms"] for entry in heard)
        assert root.attributes.get(names.LATENCY_MS) == turn["latency_ms"]
        inner = [span for span in spans if span.parent_id == root.span_id]
        assert len(named(inner, names.INFERENCE)) == len(turn["responses"])
        assert len(named(inner, names.USER_SPEECH)) == len(turn["speech"])
        assert len(named(inner, names.EXECUTE_TOOL)) == sum(entry["kind"] == "tool" for entry in turn["entries"])
        assert len(named(inner, names.PLAYBACK)) == sum(entry["spoken"] and entry["heard_ms"] > 0 for entry in heard)
        usages = [use["usage"] for use in turn["responses"] if use["usage"] is not None]
        for name, parts in (
            (names.INPUT_TOKENS, ("input_text", "input_audio", "input_image")),
            (names.OUTPUT_TOKENS, ("output_text", "output_audio")),
            (names.CACHED_TOKENS, ("input_cached",)),
            (names.INPUT_AUDIO_TOKENS, ("input_audio",)),
        ):
            told = sum(whole(span.attributes.get(name, 0)) for span in named(inner, names.INFERENCE))
            assert told == sum(usage.get(part, 0) for usage in usages for part in parts), name


def whole(value: object) -> int:
    """A count."""
    assert isinstance(value, int)
    return value


def texts_of(spans: Iterable[Span]) -> str:
    """Everything that is text in spans, to be searched."""
    found = []
    for span in spans:
        found.append(span.name)
        for attributes in (span.attributes, *(event.attributes for event in span.events)):
            found += [f"{name}={value}" for name, value in attributes.items()]
    return "\n".join(found)
