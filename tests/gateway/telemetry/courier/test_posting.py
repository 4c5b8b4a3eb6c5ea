"""Requests to an OTLP endpoint and its answers, without a network and in virtual time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.telemetry.http_answers import Body
from support.virtual import run

from gateway.telemetry.courier.connection import ANSWER_MAX_BYTES
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.posting import Poster
from gateway.telemetry.courier.span_messages import rejected_spans
from gateway.telemetry.link.destinations import Target

TARGET = Target("http://collector.example/v1/traces", {"api-key": "k"}, timeout_s=10.0, gzip=True, certificate="")
PROTOBUF = {"content-type": "application/x-protobuf"}


class Slow(httpx2.AsyncByteStream):
    """A body of which a byte comes each second, for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(1)
            yield b"x"


def posted(answer: Callable[[httpx2.Request], Any], target: Target = TARGET) -> Outcome:
    async def main() -> Outcome:
        poster = Poster(target, lambda items: b"encoded", rejected_spans, "patchbay/1", httpx2.MockTransport(answer))
        outcome = await poster.deliver(["item"])
        await poster.close()
        return outcome

    return run(main())


def test_a_request_is_what_the_protocol_asks_for() -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, stream=Body())

    assert posted(answer) == Outcome(Result.TAKEN)
    headers = asked[0].headers
    assert (asked[0].method, str(asked[0].url)) == ("POST", TARGET.url)
    assert (headers["content-type"], headers["content-encoding"]) == ("application/x-protobuf", "gzip")
    assert (headers["api-key"], headers["user-agent"]) == ("k", "patchbay/1")
    assert gzip.decompress(asked[0].content) == b"encoded"
    posted(answer, Target(TARGET.url, {}, timeout_s=1.0, gzip=False, certificate=""))
    assert ("content-encoding" in asked[1].headers, asked[1].content) == (False, b"encoded")


def test_a_partial_success_is_read() -> None:
    body = ExportTraceServiceResponse()
    body.partial_success.rejected_spans = 2
    found = posted(lambda request: httpx2.Response(200, headers=PROTOBUF, stream=Body(body.SerializeToString())))
    assert found == Outcome(Result.TAKEN, rejected=2)


def test_an_answer_of_another_kind_is_a_success_all_the_same() -> None:
    for headers, body in (
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "text/html"}, b"<html>"),
        (PROTOBUF, b"no protobuf at all"),
        ({**PROTOBUF, "content-encoding": "gzip"}, b"no gzip"),
        (PROTOBUF, b"x" * (ANSWER_MAX_BYTES + 1)),
    ):
        found = posted(
            lambda request, headers=headers, body=body: httpx2.Response(200, headers=headers, stream=Body(body))
        )
        assert found == Outcome(Result.TAKEN), headers


def test_a_receiver_that_is_busy_says_when_to_come_again() -> None:
    found = posted(lambda request: httpx2.Response(429, headers={"Retry-After": "7"}, stream=Body()))
    assert found == Outcome(Result.LATER, after_s=7.0, reason="HTTP 429")


def test_a_lost_connection_is_tried_again_and_a_slow_one_has_an_end() -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused by collector.example")

    assert posted(broken) == Outcome(Result.LATER, reason="ConnectError")
    assert posted(lambda request: httpx2.Response(200, stream=Slow())) == Outcome(Result.LATER, reason="timeout")


def test_a_redirect_is_not_followed() -> None:
    found = posted(
        lambda request: httpx2.Response(302, headers={"Location": "http://elsewhere.example"}, stream=Body())
    )
    assert found == Outcome(Result.REFUSED, reason="HTTP 302")
