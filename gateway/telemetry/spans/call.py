"""The spans of a call's own trace: its set-up, its dials, and, at its end, its sums."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.telemetry.spans import ids, names
from gateway.telemetry.spans.bounds import short, value
from gateway.telemetry.spans.span import Attribute, Kind, Link, Span
from gateway.telemetry.spans.usage import cost_attributes, usage_attributes
from gateway.telemetry.spans.view import CallView, ModelName
from sessions.accounts import Dial
from sessions.usage import TokenUsage


def is_set_up(call: CallView) -> bool:
    """Whether the set-up of a call is over: a model was ready, or the call has ended without one."""
    return call.over or any(dial.ready_ms is not None for dial in call.record.dials)


def dial_is_over(call: CallView, dial: Dial) -> bool:
    """Whether a dial has succeeded or failed."""
    return call.over or dial.ready_ms is not None or dial.lost_ms is not None


def setup_span(call: CallView) -> Span:
    """The root of the call's trace: from the caller's request until a model was ready, or none could be reached."""
    record, setup, dials = call.record, call.record.setup, call.record.dials
    ready = next((dial for dial in dials if dial.ready_ms is not None), None)
    end_ms, error = 0, None
    if ready is not None and ready.ready_ms is not None:
        end_ms = ready.ready_ms
    elif dials:
        end_ms = max(_over_ms(call, dial) for dial in dials)
        error = dials[-1].error
    attributes: dict[str, Attribute] = {
        **call.common,
        names.ADMISSION_MS: setup.admission_ms,
        names.RESUMED: False,  # a session goes on in its own call only
    }
    for name, text in ((names.CALLER_FORMAT, setup.caller_format), (names.MODEL_FORMAT, setup.model_format)):
        if text:
            attributes[name] = value(text)
    return Span(
        name=f"{names.SETUP} {short(record.agent)}",
        kind=Kind.SERVER,
        trace_id=ids.call_trace(call.session_id),
        span_id=ids.setup_span(call.session_id),
        parent_id=None,
        begin_ns=call.ns(-setup.admission_ms),
        end_ns=call.ns(max(0, end_ms)),
        attributes=_with_error(attributes, error),
        links=_callers_link(setup.traceparent),
        error=error is not None,
        model=record.model,
    )


def dial_span(call: CallView, at: int) -> Span:
    """One dial of a model, until it was ready or lost. That it was lost later on is not the dial's error."""
    dial = call.record.dials[at]
    model = ModelName.of(call.target_of(at).model)
    attributes: dict[str, Attribute] = {
        **call.common,
        names.PROVIDER: model.provider,
        names.REQUEST_MODEL: model.name,
        names.DIAL_ATTEMPT: dial.attempt,
        names.DIAL_CAUSE: dial.cause.value,
        **server_attributes(dial.target.host, dial.target.port),
    }
    error = dial.error if dial.ready_ms is None else None
    end_ms = _over_ms(call, dial) if dial.ready_ms is None else dial.ready_ms
    return Span(
        name=f"{names.DIAL} {short(model.name)}",
        kind=Kind.CLIENT,
        trace_id=ids.call_trace(call.session_id),
        span_id=ids.span_id(call.session_id, None, "dial", at),
        parent_id=ids.setup_span(call.session_id),
        begin_ns=call.ns(dial.begin_ms),
        end_ns=call.ns(max(dial.begin_ms, end_ms)),
        attributes=_with_error(attributes, error),
        error=error is not None,
        model=call.record.model,
    )


def call_span(call: CallView) -> Span:
    """The whole call with its sums, once it has ended."""
    record, summary = call.record, call.record.summary
    attributes: dict[str, Attribute] = {
        **call.common,
        names.TURNS: summary.turns,
        names.REDIALS: summary.redials,
        names.CALLER_AUDIO_MS: summary.caller_audio_ms,
        names.AGENT_AUDIO_MS: summary.agent_audio_ms,
        names.DROPPED_AUDIO_MS: summary.dropped_audio_ms,
        names.RECORDING_STATE: record.recording.state.value,
        **(usage_attributes(summary.usage) if summary.usage != TokenUsage() else {}),
        **cost_attributes(summary.cost_nano),
    }
    if summary.end_reason is not None:
        attributes[names.END_REASON] = value(summary.end_reason)
    if record.prices:
        attributes[names.PRICES] = value(record.prices)
    if record.latencies_ms:
        attributes[names.LATENCY_P50_MS] = percentile(record.latencies_ms, 50)
        attributes[names.LATENCY_P95_MS] = percentile(record.latencies_ms, 95)
    return Span(
        name=f"{names.CALL} {short(record.agent)}",
        kind=Kind.INTERNAL,
        trace_id=ids.call_trace(call.session_id),
        span_id=ids.call_span(call.session_id),
        parent_id=ids.setup_span(call.session_id),
        begin_ns=call.begin_ns,
        end_ns=call.ns(max(0, summary.duration_ms)),
        attributes=attributes,
        model=record.model,
    )


def percentile(values: Sequence[int], percent: int) -> int:
    """The value that `percent` of all values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def server_attributes(host: str, port: int | None) -> dict[str, Attribute]:
    """Where a model is; nothing for a model in this process."""
    if not host:
        return {}
    attributes: dict[str, Attribute] = {names.SERVER_ADDRESS: value(host)}
    if port is not None:
        attributes[names.SERVER_PORT] = port
    return attributes


def _over_ms(call: CallView, dial: Dial) -> int:
    if dial.lost_ms is not None:
        return dial.lost_ms
    return max(dial.begin_ms, call.record.summary.duration_ms)


def _with_error(attributes: dict[str, Attribute], error: str | None) -> dict[str, Attribute]:
    return attributes if error is None else {**attributes, names.ERROR_TYPE: str(error)}


def _callers_link(traceparent: str) -> tuple[Link, ...]:
    """A link to the caller's own span."""
    found = ids.read_traceparent(traceparent)
    return () if found is None else (Link(*found),)
