"""The courier beside a real server, with receivers on loopback: what arrives, what fails, and who is not affected."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import all_of, calling, run
from peers.server_files import SECRETS, write_server_files
from peers.server_process import Server, serving
from peers.telemetry_receivers import GotSpan, Receiver, attributes_of, couriers_of, receiving

pytestmark = pytest.mark.sockets

# The loop must be free of these: import takes time, and export took one to seven points of the core.
HEAVY = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "langfuse", "azure.monitor")
KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
AZURE_KEY = "00000000-0000-0000-0000-000000000001"
PLUGIN = '''
import sys
from pathlib import Path

from patchbay import tool


@tool
def look_up(phone: str) -> str:
    """Look somebody up."""
    Path("modules.txt").write_text("\\n".join(sys.modules))
    return "found"
'''


async def talk(server: Server, turns: int, pause_s: float = 0.0) -> str:
    """Make a call; returns its session."""
    async with calling(server) as caller:
        for turn in range(turns):
            await caller.turn(f"ping {turn}")
            await asyncio.sleep(pause_s)
        return caller.session_id


def call(server: Server, turns: int = 3, pause_s: float = 0.0) -> str:
    """Make a call in this thread."""
    return run(lambda: talk(server, turns, pause_s))


def by_kind(spans: list[GotSpan]) -> dict[str, int]:
    """How many spans there are of each name's first word."""
    found: dict[str, int] = {}
    for span in spans:
        found[span.name.partition(" ")[0]] = found.get(span.name.partition(" ")[0], 0) + 1
    return found


def sent_whole(receiver: Receiver, session: str, turns: int) -> bool:
    """Whether a call has come: all its turns, and its end."""
    has_end = any(
        one.name.startswith("patchbay.call") and one.attributes["patchbay.session.id"] == session
        for one in receiver.spans()
    )
    return has_end and receiver.turns(session) == set(range(turns))


def test_a_call_arrives_at_every_destination_in_its_dialect(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    (tmp_path / "plugins" / "look_up.py").write_text(PLUGIN)
    with receiving() as otlp, receiving() as langfuse:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k%2C1",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "LANGFUSE_BASE_URL": langfuse.url,
        }
        with serving(tmp_path, **settings, **KEYS) as server:

            async def main() -> str:
                async with calling(server) as caller:
                    await caller.turn("ping")
                    await caller.say("number")
                    await caller.until("response.done")
                    await caller.until("response.done")
                    return caller.session_id

            session = run(main)
            for receiver in (otlp, langfuse):
                receiver.wait(lambda receiver=receiver: sent_whole(receiver, session, 2), "the call has not come")
            loaded = (tmp_path / "modules.txt").read_text().splitlines()
        log = server.log()
    assert [name for name in loaded if name.startswith(HEAVY)] == []

    kinds = by_kind(otlp.spans())
    assert kinds == by_kind(langfuse.spans())
    assert (kinds["patchbay.setup"], kinds["invoke_agent"], kinds["execute_tool"], kinds["patchbay.call"]) == (
        1,
        2,
        1,
        1,
    )
    assert (otlp.doubles(), langfuse.doubles()) == (0, 0)
    root = next(one for one in otlp.spans() if one.name.startswith("invoke_agent"))
    assert root.attributes["openinference.span.kind"] == "AGENT"
    assert otlp.got[0].headers["api-key"] == "k,1"
    assert all(one.headers["content-encoding"] == "gzip" for one in otlp.got)

    post = langfuse.got[0]
    assert post.path == "/api/public/otel/v1/traces"
    assert post.headers["authorization"] == "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-1").decode()
    assert post.headers["x-langfuse-ingestion-version"] == "4"
    assert all("langfuse.observation.type" in one.attributes for one in langfuse.spans())
    assert all(one.attributes["session.id"] == session for one in langfuse.spans())

    # No word, no number and no key in what was sent, nor in the log.
    for secret in SECRETS:
        assert secret.encode() not in otlp.raw() + langfuse.raw(), secret
        assert secret not in log


def test_log_lines_arrive_with_the_calls_trace_and_figures_as_metrics(tmp_path: Path) -> None:
    with receiving() as otlp:
        with serving(
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
            OTEL_METRIC_EXPORT_INTERVAL="1000",
            OTEL_SERVICE_NAME="desk-1",
        ) as server:
            session = call(server)
            otlp.wait(lambda: sent_whole(otlp, session, 3), "the call has not come")
            otlp.wait(lambda: len(otlp.logs()) >= 2, "the log has not come")
        started = next(one for one in otlp.logs() if one.body.string_value == "call started")
    setup = next(one for one in otlp.spans() if one.name.startswith("patchbay.setup"))
    assert (started.trace_id.hex(), started.span_id.hex()) == (setup.trace, setup.span)
    assert started.severity_text == "INFO"
    assert attributes_of(started.attributes)["call_id"] == session
    assert "draining" in [one.body.string_value for one in otlp.logs()]


def test_settled_turns_arrive_soon(tmp_path: Path) -> None:
    with receiving() as otlp:
        with serving(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url) as server:
            session = call(server, turns=20, pause_s=0.2)
            otlp.wait(lambda: sent_whole(otlp, session, 20), "the call has not come")
        late = sorted(one.at - one.end_ns / 1e9 for one in otlp.spans() if one.name.startswith("invoke_agent"))
    print(
        f"turns at the receiver after their end: p50 {late[10]:.2f} s, p95 {late[18]:.2f} s, longest {late[-1]:.2f} s"
    )
    assert late[18] < 8.0


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(lambda number: (503, {"Retry-After": "1"}) if number <= 2 else "ok", id="503"),
        pytest.param(lambda number: 429 if number <= 2 else "ok", id="429"),
        pytest.param(lambda number: "reset" if number <= 2 else "ok", id="reset"),
        pytest.param(lambda number: "hang" if number == 1 else "ok", id="hang"),
        pytest.param(lambda number: "partial", id="partial"),
    ],
)
def test_a_destination_that_fails_gets_everything_later_and_no_other_waits(tmp_path: Path, failing: Any) -> None:
    with receiving() as otlp, receiving() as langfuse:
        otlp.answer = failing
        settings = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{otlp.url}/v1/traces",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
            "LANGFUSE_HOST": langfuse.url,
        }
        with serving(tmp_path, **settings, **KEYS) as server:
            begun = time.monotonic()
            session = call(server)
            langfuse.wait(lambda: sent_whole(langfuse, session, 3), "the other destination waits")
            assert time.monotonic() - begun < 6
            otlp.wait(lambda: sent_whole(otlp, session, 3), "the failing destination has not got it")
        assert (otlp.doubles(), langfuse.doubles()) == (0, 0)
        log = server.log()
    assert ("does not take what it is sent" in log) == (failing(1) != "partial")
    assert log.count("does not take what it is sent") <= 1
    assert ("rejected some items" in log) == (failing(1) == "partial")


def test_a_wrong_key_costs_one_line_and_is_not_tried_again(tmp_path: Path) -> None:
    with receiving() as otlp, receiving() as langfuse:
        langfuse.answer = lambda number: 401
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "LANGFUSE_BASE_URL": langfuse.url}
        with serving(tmp_path, **settings, **KEYS) as server:
            for _ in range(2):
                session = call(server)
                otlp.wait(lambda session=session: sent_whole(otlp, session, 3), "the call has not come")
            time.sleep(2)
            assert len(langfuse.asked) == 1
        (line,) = [json.loads(one) for one in server.log().splitlines() if "does not accept the key" in one]
    assert (line["level"], line["destination"], line["reason"]) == ("error", "langfuse", "HTTP 401")
    assert "sk-lf-1" not in server.log()


def test_application_insights_gets_each_turn_as_a_request(tmp_path: Path) -> None:
    pytest.importorskip("azure.monitor.opentelemetry.exporter", reason="pip install 'patchbay[azure-monitor]'")
    with receiving() as azure:
        azure.answer = lambda number: (503, {"Retry-After": "1"}) if number == 1 else "ok"
        connection = f"InstrumentationKey={AZURE_KEY};IngestionEndpoint={azure.url}/"
        with serving(tmp_path, APPLICATIONINSIGHTS_CONNECTION_STRING=connection) as server:
            session = call(server)

            def turns() -> list[Any]:
                named = [one for one in azure.envelopes() if one["data"]["baseType"] == "RequestData"]
                return [one for one in named if one["data"]["baseData"]["name"].startswith("invoke_agent")]

            azure.wait(lambda: len(turns()) == 3, "the turns have not come")
    assert {request.path for request in azure.asked} == {"/v2.1/track"}
    assert {one["iKey"] for one in azure.envelopes()} == {AZURE_KEY}
    assert {one["tags"]["ai.session.id"] for one in turns()} == {session}
    assert {one["tags"]["ai.cloud.role"] for one in turns()} == {"patchbay"}
    models = [one for one in azure.envelopes() if one["data"]["baseData"].get("name", "").startswith("realtime_inf")]
    assert len(models) == 3
    assert len({json.dumps(one, sort_keys=True) for one in azure.envelopes()}) == len(azure.envelopes())


def test_a_hundred_calls_with_a_dead_collector_leave_nothing_behind(tmp_path: Path) -> None:
    with receiving() as gone:
        dead = gone.url
    with serving(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=dead, OTEL_METRIC_EXPORT_INTERVAL="1000") as server:
        server.ended(call(server))
        time.sleep(1)
        descriptors, (courier,) = server.open_files(), couriers_of(server.process.pid)

        async def main() -> list[str]:
            found: list[str] = []
            for _ in range(10):
                found += await all_of(*(talk(server, 2) for _ in range(10)))
            return found

        sessions = run(main, 60)
        ended = [server.ended(session) for session in sessions]
        lost = sum(one["end_reason"] != "caller_hung_up" or one["summary"]["turns"] != 2 for one in ended)
        until = time.monotonic() + 5
        while (left := server.open_files() - descriptors) and time.monotonic() < until:
            time.sleep(0.1)
        print(f"{len(sessions)} calls with a dead collector: {lost} lost, {left} descriptors left")
        assert (lost, left) == (0, 0)
        assert couriers_of(server.process.pid) == [courier]
        server.signal(15)
        begun = time.monotonic()
        assert server.wait(20) == 0
        print(f"the server ended {time.monotonic() - begun:.1f} s after the signal")
    assert not Path(f"/proc/{courier}").exists()
    assert not list((tmp_path / "data" / "telemetry").glob("*"))
    assert server.log().count("does not take what it is sent") <= 3  # once for each signal
