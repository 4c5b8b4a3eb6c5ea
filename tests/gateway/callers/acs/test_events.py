"""The events of Event Grid and of calls, read."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.acs.events import Callback, IncomingCall, Validation, read_callbacks, read_events
from gateway.softphone.far_ends.acs import AcsFarEnd
from sessions.errors import WireError

FAR_END = AcsFarEnd("+4930111", "+4930222")
INCOMING: dict[str, Any] = orjson.loads(FAR_END.ring())[0]


def incoming(**changes: Any) -> dict[str, Any]:
    return {**INCOMING, "data": {**INCOMING["data"], **changes}}


def read(*events: Any) -> list[Any]:
    return list(read_events(orjson.dumps(list(events))).found)


def test_an_incoming_call_is_read_with_its_numbers() -> None:
    (call,) = read(INCOMING)
    assert call == IncomingCall(FAR_END.context, FAR_END.correlation_id, "+4930111", "+4930222", {})
    assert "4930111" not in repr(call)
    assert FAR_END.context not in repr(call)
    facts = call.facts("conn")
    assert (facts.number, facts.called, facts.carrier_call_id) == ("+4930111", "+4930222", "conn")
    assert facts.metadata == {"correlation_id": FAR_END.correlation_id}
    assert call.facts(None).carrier_call_id == FAR_END.correlation_id


@pytest.mark.parametrize(
    ("end", "number"),
    [
        ({"rawId": "4:+49301"}, "+49301"),
        ({"rawId": "8:acs:user"}, "8:acs:user"),
        ({"kind": "phoneNumber", "phoneNumber": {"value": ""}, "rawId": "4:+49301"}, "+49301"),
        ({"phoneNumber": {"value": 7}}, None),
        ({}, None),
        (None, None),
        ("+49301", None),
    ],
)
def test_a_caller_may_be_no_telephone(end: object, number: str | None) -> None:
    (call,) = read(incoming(**{"from": end}))
    assert call.caller == number


def test_headers_of_the_call_reach_the_facts_within_their_bounds() -> None:
    custom = {"sipHeaders": {"X-Order": "17", "X-Odd": 7}, "voipHeaders": {"X-Order": "18", "X-Long": "y" * 9000}}
    (call,) = read(incoming(customContext=custom))
    metadata = call.facts(None).metadata
    assert (metadata["X-Order"], len(metadata["X-Long"]), "X-Odd" in metadata) == ("17", 512, False)
    for odd in (None, [], {"sipHeaders": []}, {"sipHeaders": None}):
        assert read(incoming(customContext=odd))[0].headers == {}


def test_the_validation_and_both_schemas_are_read_and_other_kinds_are_passed_over() -> None:
    cloud = {"type": INCOMING["eventType"], "data": INCOMING["data"]}
    other = {"eventType": "Microsoft.Communication.RecordingFileStatusUpdated", "data": {}}
    (validation,) = read_events(FAR_END.validation("code")).found
    assert validation == Validation("code")
    assert read(other, cloud, INCOMING) == read(INCOMING) * 2
    assert read_events(orjson.dumps(INCOMING)).found == read(INCOMING)


@pytest.mark.parametrize(
    "bad",
    [
        incoming(incomingCallContext=""),
        incoming(incomingCallContext=None),
        incoming(incomingCallContext="x" * 40_000),
        incoming(correlationId="x" * 200),
        incoming(correlationId=7),
        {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}},
        {"eventType": 7, "data": {}},
        {"eventType": INCOMING["eventType"], "data": []},
        {},
        7,
        None,
    ],
)
def test_a_malformed_event_costs_itself_only(bad: Any) -> None:
    found = read_events(orjson.dumps([bad, INCOMING]))
    assert (len(found.found), found.malformed) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[" * 5000, orjson.dumps([INCOMING] * 1001)])
def test_a_body_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(WireError):
        read_events(body)
    with pytest.raises(WireError):
        read_callbacks(body)


def test_callbacks_name_their_call_and_what_failed() -> None:
    (connected,) = read_callbacks(FAR_END.event("CallConnected")).found
    assert connected == Callback("CallConnected", FAR_END.correlation_id, FAR_END.connection_id)
    result = {"code": 400, "subCode": 8581, "message": "to +4930111"}
    (failed,) = read_callbacks(FAR_END.event("MediaStreamingFailed", resultInformation=result)).found
    assert (failed.kind, failed.code, failed.sub_code) == ("MediaStreamingFailed", 400, 8581)
    assert "4930111" not in repr(failed)
    odd = {"correlationId": 7, "callConnectionId": "x" * 200, "resultInformation": {"code": "400", "subCode": True}}
    assert read_callbacks(orjson.dumps({"type": "Microsoft.Communication.X", "data": odd})).found == [
        Callback("X", None, None)
    ]
    assert read_callbacks(orjson.dumps({"type": "Elsewhere.X", "data": {}})).found == []


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
_data = st.dictionaries(
    st.sampled_from(["incomingCallContext", "correlationId", "from", "to", "customContext", "resultInformation"]),
    _values,
)
_kinds = st.sampled_from([INCOMING["eventType"], "Microsoft.Communication.CallConnected", "x"])


@given(st.binary(max_size=100), _kinds, _data | _values, st.lists(_values, max_size=3))
def test_any_body_is_read_or_malformed(raw: bytes, kind: str, body: Any, others: list[Any]) -> None:
    for text in (raw, orjson.dumps([{"eventType": kind, "data": body}, {"type": kind, "data": body}, *others])):
        for reader in (read_events, read_callbacks):
            with contextlib.suppress(WireError):
                for event in reader(text).found:
                    if isinstance(event, IncomingCall):
                        event.facts(None)
