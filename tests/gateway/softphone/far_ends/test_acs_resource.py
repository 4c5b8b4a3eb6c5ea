"""A resource of Azure Communication Services and one call: which actions it takes, and what comes of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.calls.acs_requests import ACCESS_KEY, STREAMING, action, answering
from support.calls.acs_world import ISSUER, mint

from audio.formats import PCM16_16K, PCM16_24K
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_resource import AcsResource, ServiceAnswer, ServiceRequest

NOW = 1_900_000_000.0
KEYS_URL = "http://127.0.0.1:8420/calling/keys"
OTHER_KEY = "YW5vdGhlciBrZXkgb2YgYSByZXNvdXJjZQ=="


def resource() -> tuple[AcsResource, AcsFarEnd]:
    far_end = AcsFarEnd("+4930111", "+4930222")
    return AcsResource(far_end, mint(), ACCESS_KEY, openid_path="/openid", key_set_url=KEYS_URL), far_end


def why(answer: ServiceAnswer) -> str:
    message: str = orjson.loads(answer.body)["error"]["message"]
    return message


def test_the_keys_are_where_the_configuration_says() -> None:
    azure, _ = resource()
    configuration = azure.take(ServiceRequest("GET", "/openid", {}, b""), NOW)
    assert orjson.loads(configuration.body) == {"issuer": ISSUER, "jwks_uri": KEYS_URL}
    assert azure.take(ServiceRequest("GET", "/calling/keys", {}, b""), NOW).body == mint().key_set()
    assert azure.refusals == []
    assert azure.take(ServiceRequest("GET", "/other", {}, b""), NOW).status == 401


def test_a_call_is_answered_and_ended() -> None:
    azure, far_end = resource()
    answer = azure.take(action(":answer", answering(far_end.context), NOW), NOW)
    assert answer.status == 200
    fields = orjson.loads(answer.body)
    assert (fields["callConnectionId"], fields["correlationId"]) == (far_end.connection_id, far_end.correlation_id)
    order = azure.order
    assert order is not None
    assert (order.media_url, order.format, order.bidirectional) == (STREAMING["transportUrl"], PCM16_24K, True)
    assert order.callback_url == "https://voice.example/telephony/acs/callbacks/KEY"
    assert not azure.ended
    assert azure.take(action(f"/{far_end.connection_id}:terminate", None, NOW), NOW) == ServiceAnswer(204)
    assert azure.ended
    assert azure.refusals == []


@pytest.mark.parametrize(
    ("options", "format", "bidirectional"),
    [
        ({"audioFormat": "pcm16KMono"}, PCM16_16K, True),
        ({"audioFormat": None, "audioChannelType": "unmixed"}, PCM16_16K, True),
        ({"enableBidirectional": None}, PCM16_24K, False),
    ],
)
def test_the_far_end_has_the_sound_that_the_answer_asks_for(options: Any, format: Any, bidirectional: bool) -> None:
    azure, far_end = resource()
    assert azure.take(action(":answer", answering(far_end.context, **options), NOW), NOW).status == 200
    assert (far_end.format, far_end.ear.format, far_end.bidirectional) == (format, format, bidirectional)


def test_an_action_that_comes_again_is_not_done_again() -> None:
    azure, far_end = resource()
    first = action(":answer", answering(far_end.context), NOW)
    assert azure.take(first, NOW) == azure.take(first, NOW + 1)
    end = action(f"/{far_end.connection_id}:terminate", None, NOW)
    assert azure.take(end, NOW) == azure.take(end, NOW) == ServiceAnswer(204)
    assert azure.refusals == []
    again = azure.take(action(":answer", answering(far_end.context), NOW), NOW)
    assert (again.status, why(again)) == (400, "the call does not ring any more")
    ended = azure.take(action(f"/{far_end.connection_id}:terminate", None, NOW), NOW)
    assert (ended.status, why(ended)) == (404, "the call is not connected")


def test_a_call_is_turned_down() -> None:
    azure, far_end = resource()
    fields = {"incomingCallContext": far_end.context, "callRejectReason": "busy"}
    assert azure.take(action(":reject", fields, NOW), NOW) == ServiceAnswer(204)
    assert (azure.turned_down, azure.order) == ("busy", None)
    assert azure.take(action(":answer", answering(far_end.context), NOW), NOW).status == 400


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": OTHER_KEY}, "not signed with access_key"),
        ({"authorization": ""}, "not signed with access_key"),
        ({"host": "127.0.0.1:9999"}, "not signed with access_key"),
        ({"x_ms_content_sha256": "AAAA"}, "not the hash of the body"),
        ({"x_ms_date": "yesterday"}, "no date"),
    ],
)
def test_an_action_that_is_not_signed_is_refused(changes: dict[str, str], reason: str) -> None:
    azure, far_end = resource()
    answer = azure.take(action(":answer", answering(far_end.context), NOW, **changes), NOW)
    assert answer.status == 401
    assert reason in why(answer)
    assert azure.order is None
    (noted,) = azure.refusals
    assert noted.startswith("POST /calling/callConnections:answer: ")
    assert far_end.context not in noted


@pytest.mark.parametrize("away_s", [-301, 301])
def test_an_action_of_another_time_is_refused(away_s: int) -> None:
    azure, far_end = resource()
    answer = azure.take(action(":answer", answering(far_end.context), NOW), NOW + away_s)
    assert (answer.status, why(answer)) == (401, "x-ms-date is more than 300 s away")


@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        (":answer", {"query": ""}, 400),
        (":answer", {"repeatability_request_id": "1"}, 400),
        (":answer", {"repeatability_first_sent": "now"}, 400),
        (":answer", {"content_type": "text/plain"}, 400),
        (":redirect", {}, 404),
        ("/another:terminate", {}, 404),
    ],
)
def test_an_action_of_another_shape_is_refused(name: str, changes: dict[str, str], status: int) -> None:
    azure, far_end = resource()
    assert azure.take(action(name, answering(far_end.context), NOW, **changes), NOW).status == status
    assert (azure.order, len(azure.refusals)) == (None, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"transportType": None}, "transportType is not websocket"),
        ({"contentType": "video"}, "contentType is not audio"),
        ({"audioChannelType": "stereo"}, "audioChannelType is not mixed or unmixed"),
        ({"startMediaStreaming": False}, "no sound would flow"),
        ({"audioFormat": "pcm8KMono"}, "audioFormat is not pcm16KMono or pcm24KMono"),
        ({"transportUrl": None}, "transportUrl is missing"),
    ],
)
def test_an_answer_that_leaves_the_caller_in_silence_is_refused(options: Any, reason: str) -> None:
    azure, far_end = resource()
    answer = azure.take(action(":answer", answering(far_end.context, **options), NOW), NOW)
    assert answer.status == 400
    assert reason in why(answer)
    assert azure.order is None


def test_an_answer_needs_the_call_that_rings_and_its_media() -> None:
    azure, far_end = resource()
    other = azure.take(action(":answer", answering("another"), NOW), NOW)
    without = answering(far_end.context) | {"mediaStreamingOptions": None}
    bare = azure.take(action(":answer", without, NOW), NOW)
    listed = azure.take(action(":answer", [], NOW), NOW)
    odd = azure.take(action(":reject", {"incomingCallContext": far_end.context, "callRejectReason": "no"}, NOW), NOW)
    early = azure.take(action(f"/{far_end.connection_id}:terminate", None, NOW), NOW)
    assert [answer.status for answer in (other, bare, listed, odd, early)] == [400, 400, 400, 400, 404]
    assert "no call that rings" in why(other)
    assert "no media socket" in why(bare)
    assert (azure.order, azure.turned_down, azure.ended) == (None, None, False)
