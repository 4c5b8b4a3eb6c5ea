"""The spans within a turn: the caller's speech, the model's responses, tool calls, and what was played of the agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.telemetry.spans import ids, names
from gateway.telemetry.spans.bounds import short, tool_name, value
from gateway.telemetry.spans.call import server_attributes
from gateway.telemetry.spans.content import Words, response_of
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.span import Attribute, Kind, Span
from gateway.telemetry.spans.usage import cost_attributes, usage_attributes
from gateway.telemetry.spans.view import CallView, ModelName, TurnView
from sessions.accounts import ResponseUse
from sessions.problems import plain
from sessions.record import Speaker, ToolUse, Turn, Utterance

FAILED = "failed"


@dataclass(slots=True)
class TurnParts:
    """Makes the spans within one turn. `words` is None where none may be sent; `until_ms` is the turn's end."""

    call: CallView
    view: TurnView
    policy: TelemetryPolicy
    words: Words | None
    until_ms: int
    _used: set[bytes] = field(default_factory=set)

    @property
    def turn(self) -> Turn:
        """The turn of the record."""
        return self.view.turn

    def all(self) -> list[Span]:
        """All spans within the turn, in order of their kinds."""
        return [*self._speech(), *self._responses(), *self._tools(), *self._playback()]

    def _span(
        self,
        kind: tuple[str, str | int],
        name: str,
        begin_ms: int,
        end_ms: int,
        attributes: dict[str, Attribute],
        *,
        span_kind: Kind = Kind.INTERNAL,
        error: str | None = None,
        first_sound_ms: int | None = None,
    ) -> Span:
        """A child of the turn's root; `kind` and its name make the id."""
        call, index = self.call, self.turn.index
        if error is not None:
            attributes[names.ERROR_TYPE] = value(error)
        return Span(
            name=name,
            kind=span_kind,
            trace_id=ids.turn_trace(call.session_id, index, self.policy.shape),
            span_id=self._fresh_id(*kind),
            parent_id=ids.turn_span(call.session_id, index),
            begin_ns=call.ns(begin_ms),
            end_ns=call.ns(max(begin_ms, end_ms)),
            attributes={**call.common_of_turns, **attributes},
            error=error is not None,
            model=call.record.model,
            first_sound_ns=None if first_sound_ms is None else call.ns(first_sound_ms),
        )

    def _fresh_id(self, kind: str, name: str | int) -> bytes:
        """The id of a span. A model may give two of its responses the same id; the second is then counted."""
        found = ids.span_id(self.call.session_id, self.turn.index, kind, name)
        again = 1
        while found in self._used:
            again += 1
            found = ids.span_id(self.call.session_id, self.turn.index, kind, f"{name}/{again}")
        self._used.add(found)
        return found

    def _speech(self) -> Iterator[Span]:
        for at, stretch in enumerate(self.turn.speech):
            end_ms = self.until_ms if stretch.end_ms is None else stretch.end_ms
            attributes: dict[str, Attribute] = {
                names.OPERATION: names.USER_SPEECH,
                names.PROVIDER: self.call.model.provider,
            }
            yield self._span(("speech", at), names.USER_SPEECH, stretch.begin_ms, end_ms, attributes)

    def _responses(self) -> Iterator[Span]:
        said = self.words.response_messages(self.turn) if self.words is not None else []
        for at, use in enumerate(self.turn.responses):
            target = self.call.target_of(use.leg)
            model = ModelName.of(target.model)
            begin_ms = use.begin_ms if use.asked_ms is None else min(use.asked_ms, use.begin_ms)
            end_ms = self.until_ms if use.end_ms is None else use.end_ms
            attributes = {
                names.OPERATION: names.INFERENCE,
                names.PROVIDER: model.provider,
                names.REQUEST_MODEL: model.name,
                names.RESPONSE_ID: value(use.response_id),
                names.ORIGIN: use.origin.value,
                **_leg_attributes(self.call, use.leg),
                **server_attributes(target.host, target.port),
                **_outcome_attributes(use),
                **usage_attributes(use.usage),
                **cost_attributes(use.cost_nano),
                **(_messages(*said[at]) if said else {}),
            }
            output_type = self._output_type(at)
            if output_type is not None:
                attributes[names.OUTPUT_TYPE] = output_type
            yield self._span(
                ("response", use.response_id),
                f"{names.INFERENCE} {short(model.name)}",
                begin_ms,
                end_ms,
                attributes,
                span_kind=Kind.INTERNAL if model.in_process else Kind.CLIENT,
                error=response_error(self.turn, use),
                first_sound_ms=use.first_sound_ms,
            )

    def _output_type(self, at: int) -> str | None:
        """Whether a response spoke or wrote; None where it did neither, as one that only calls a tool."""
        use = self.turn.responses[at]
        if use.usage is not None and use.usage.output_audio:
            return "speech"
        said = [entry.spoken for entry in agent_items(self.turn) if response_of(self.turn, entry) == at]
        return None if not said else "speech" if any(said) else "text"

    def _tools(self) -> Iterator[Span]:
        for at, entry in enumerate(self.turn.entries):
            if not isinstance(entry, ToolUse):
                continue
            end_ms = self.until_ms if entry.end_ms is None else entry.end_ms
            yield self._span(
                ("tool", entry.call_id),
                f"{names.EXECUTE_TOOL} {tool_name(entry)}",
                entry.begin_ms,
                end_ms,
                {**self._tool_attributes(entry), **self._tool_words(entry), **self._result_size(at)},
                error=entry.error,
            )

    def _tool_attributes(self, use: ToolUse) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: tool_name(use),
            names.TOOL_CALL_ID: value(use.call_id),
            names.TOOL_TYPE: "function",
            # The turn did not wait for it: its result came afterwards, or not at all.
            names.TOOL_LATE: use.end_ms is None or use.end_ms > self.until_ms,
        }
        if use.deadline_ms is not None:
            attributes[names.TOOL_DEADLINE_MS] = use.deadline_ms
        if use.server is not None:
            attributes |= {names.MCP_METHOD: "tools/call", names.MCP_SERVER: short(use.server)}
            if use.server in self.policy.transports:
                attributes[names.TRANSPORT] = self.policy.transports[use.server]
        return attributes

    def _tool_words(self, use: ToolUse) -> dict[str, Attribute]:
        if self.words is None:
            return {}
        attributes: dict[str, Attribute] = {names.TOOL_ARGUMENTS: self.words.arguments(use)}
        result = self.words.result(use)
        if result is not None:
            attributes[names.TOOL_RESULT] = result
        return attributes

    def _result_size(self, at: int) -> dict[str, Attribute]:
        size = self.view.result_bytes.get(at)
        return {} if size is None else {names.TOOL_RESULT_BYTES: size}

    def _playback(self) -> Iterator[Span]:
        for said in agent_items(self.turn):
            if not said.spoken or said.heard_ms <= 0:
                continue
            attributes: dict[str, Attribute] = {
                names.ITEM_ID: value(said.item_id),
                names.SENT_MS: said.sent_ms,
                names.HEARD_MS: said.heard_ms,
                names.INTERRUPTED: is_cut(self.turn, said),
            }
            if said.heard is not None:
                attributes[names.HEARD] = said.heard.value
            end_ms = said.begin_ms + said.heard_ms
            yield self._span(("playback", said.item_id), names.PLAYBACK, said.begin_ms, end_ms, attributes)


def agent_items(turn: Turn) -> list[Utterance]:
    """What the agent said in a turn."""
    return [entry for entry in turn.entries if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT]


def is_cut(turn: Turn, said: Utterance) -> bool:
    """Whether the caller has interrupted this item, so that not all of it was heard."""
    return turn.interrupted and said.heard_ms < said.sent_ms


def response_error(turn: Turn, use: ResponseUse) -> str | None:
    """Why a response has failed, in one plain word; None if it has not."""
    if use.outcome != FAILED:
        return None
    reason = None if use.reason == FAILED else plain(use.reason)
    return reason or (turn.problem.code if turn.problem is not None else FAILED)


def _leg_attributes(call: CallView, leg: int) -> dict[str, Attribute]:
    """What the model itself says of the session and of its name."""
    if not 0 <= leg < len(call.record.dials):
        return {}
    dial = call.record.dials[leg]
    found = {names.MODEL_SESSION_ID: dial.model_session, names.RESPONSE_MODEL: dial.served}
    return {name: value(text) for name, text in found.items() if text}


def _outcome_attributes(use: ResponseUse) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    reason = use.reason or use.outcome
    if reason:
        attributes[names.FINISH_REASONS] = [plain(reason) or reason]
    if use.asked_ms is not None and use.first_sound_ms is not None:
        attributes[names.FIRST_CHUNK_S] = max(0, use.first_sound_ms - use.asked_ms) / 1000
    return attributes


def _messages(asked: str | None, said: str | None) -> dict[str, Attribute]:
    found = {names.INPUT_MESSAGES: asked, names.OUTPUT_MESSAGES: said}
    return {name: text for name, text in found.items() if text is not None}
