"""What Langfuse gets beside spans: scores, and the sound of recorded calls, from real servers and couriers."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import struct
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.azurite import KEY as AZURITE_KEY
from peers.azurite import running_azurite
from peers.langfuse_receiver import KEYS, Langfuse, langfuse_receiving
from peers.server_callers import calling, run
from peers.server_files import write_server_files
from peers.server_process import Server, serving
from peers.telemetry_receivers import couriers_of, receiving
from peers.test_traces_send import send

pytestmark = pytest.mark.sockets

TONE_HZ = 1_030  # which the scripted voice has not: its tones are multiples of 140
TONE = b"".join(struct.pack("<h", int(9000 * math.sin(2 * math.pi * TONE_HZ * at / 24_000))) for at in range(480 * 50))
AUDIO = {"PATCHBAY_TELEMETRY__CONTENT": "audio"}
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


def spoken_call(server: Server, agent: str = "desk") -> str:
    """A call in which the caller says something for a second, and then types; returns its session."""

    async def main() -> str:
        async with calling(server, agent) as caller:
            await caller.turn("ping")
            for at in range(0, len(TONE), 960):
                await caller.sound(TONE[at : at + 960])
                await asyncio.sleep(0.02)
            for _ in range(60):
                await caller.sound()
                await asyncio.sleep(0.02)
            await caller.until("response.done")
            await caller.say("number")
            await caller.until("response.done")
            await caller.until("response.done")
            await asyncio.sleep(0.5)
            return caller.session_id

    session = run(main)
    server.ended(session)
    return session


def quick_call(server: Server) -> str:
    """A call of one turn; returns its session."""

    async def main() -> str:
        async with calling(server) as caller:
            await caller.turn("ping")
            await asyncio.sleep(0.7)
            return caller.session_id

    session = run(main)
    server.ended(session)
    return session


def recorded(server: Server, session: str) -> Any:
    """The session once its recording is ready."""
    until = time.monotonic() + 15
    while (found := server.session(session))["recording"]["state"] != "ready":
        assert time.monotonic() < until, found["recording"]
        time.sleep(0.1)
    return found


def score(server: Server, session: str, name: str, value: Any, comment: str | None = None) -> None:
    body = {"name": name, "value": value, "comment": comment}
    assert server.ask(f"/api/v1/sessions/{session}/scores", method="POST", body=body)[0] == 200


def caller_spoke(entry: Any) -> bool:
    """Whether an entry of a turn is something that the caller said aloud."""
    return entry.get("speaker") == "caller" and bool(entry["spoken"])


def pitch_hz(samples: Any, rate_hz: int) -> float:
    """The strongest frequency."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples))


def shown(server: Server, line: str) -> float | None:
    """The value of a figure on /metrics, by its name with its labels."""
    found = [one for one in server.ask("/metrics")[1].splitlines() if one.startswith(line + " ")]
    return float(found[0].rpartition(" ")[2]) if found else None


def counted(server: Server, signal: str, outcome: str) -> int:
    """How many items of a signal have had this outcome."""
    labels = f'destination="langfuse",outcome="{outcome}",signal="{signal}"'
    return int(shown(server, f"patchbay_telemetry_items_total{{{labels}}}") or 0)


def wait_for(server: Server, signal: str, outcome: str, items: int) -> None:
    """Wait until so many items have had this outcome."""
    until = time.monotonic() + 15
    while (found := counted(server, signal, outcome)) < items:
        assert time.monotonic() < until, (signal, outcome, found, items)
        time.sleep(0.1)


def test_scores_arrive_and_replace_each_other_and_their_comments_are_redacted(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        settings = {
            "LANGFUSE_BASE_URL": langfuse.receiver.url,
            "PATCHBAY_TELEMETRY__CONTENT": "text",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        with serving(tmp_path, **settings, **KEYS) as server:
            session = quick_call(server)
            score(server, session, "booked", False)
            wait_for(server, "scores", "sent", 1)
            score(server, session, "booked", True, "call back at +49 170 1234567 or jane@example.com")
            score(server, session, "politeness", 4.5)
            score(server, session, "kind", "complaint")
            wait_for(server, "scores", "sent", 4)
            started_s = server.session(session)["started_at"]
        found = {one["name"]: one for one in langfuse.scores.values()}
    assert langfuse.faults == []
    assert len(langfuse.scores) == 3
    assert {(one["sessionId"], one["environment"]) for one in found.values()} == {(session, "test")}
    assert {one["sessionId"] for one in found.values()} == {session_in_spans(langfuse)}
    times = {datetime.fromisoformat(one["timestamp"]).timestamp() for body in langfuse.posted for one in body}
    assert [round(time - started_s, 2) for time in times] == [0.0]
    assert (found["booked"]["value"], found["booked"]["dataType"]) == (1, "BOOLEAN")
    assert found["booked"]["comment"] == "call back at [phone] or [email]"
    assert (found["politeness"]["value"], found["politeness"]["dataType"]) == (4.5, "NUMERIC")
    assert (found["kind"]["value"], found["kind"]["dataType"]) == ("complaint", "CATEGORICAL")


def test_without_content_a_score_has_no_comment(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS) as server:
            session = quick_call(server)
            score(server, session, "booked", True, "xylophone")
            wait_for(server, "scores", "sent", 1)
        (found,) = langfuse.scores.values()
    assert "comment" not in found
    assert b"xylophone" not in langfuse.receiver.raw()


def test_an_older_langfuse_gets_one_score_at_a_time_and_what_it_refuses_is_counted(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        langfuse.takes_lists = False
        langfuse.refuses = ("odd",)
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS) as server:
            session = quick_call(server)
            for name in ("one", "odd", "two"):
                score(server, session, name, 1)
            wait_for(server, "scores", "sent", 2)
            wait_for(server, "scores", "rejected", 1)
    assert {one["name"] for one in langfuse.scores.values()} == {"one", "two"}


def test_a_score_outlives_a_courier_that_is_killed_and_a_langfuse_that_is_away(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        langfuse.receiver.answer = lambda number: 503
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS) as server:
            session = quick_call(server)
            score(server, session, "booked", True)
            langfuse.receiver.wait(lambda: any("scores" in one.path for one in langfuse.receiver.asked), "none came")
            for courier in couriers_of(server.process.pid):
                os.kill(courier, signal.SIGKILL)
            langfuse.receiver.answer = lambda number: "ok"
            langfuse.receiver.wait(lambda: len(langfuse.scores) == 1, "the score was lost")


def test_a_wrong_key_stops_scores_and_sound(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        langfuse.key_is_wrong = True
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS, **AUDIO) as server:
            session = quick_call(server)
            recorded(server, session)
            score(server, session, "booked", True)
            langfuse.receiver.wait(lambda: bool(asked(langfuse, "scores") and asked(langfuse)), "nothing was asked")
            time.sleep(2)
            assert [len(asked(langfuse, path)) for path in ("scores", "media")] == [1, 1]
            assert shown(server, 'patchbay_telemetry_up{destination="langfuse"}') == 0
        lines = [json.loads(line) for line in server.log().splitlines() if "does not accept the key" in line]
    assert [line["destination"] for line in lines] == ["langfuse"]  # one line, whatever the signals
    assert langfuse.uploads == 0
    assert KEYS["LANGFUSE_SECRET_KEY"] not in server.log()


def test_the_sound_of_a_call_arrives_at_its_observations(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    (tmp_path / "plugins" / "look_up.py").write_text(PLUGIN)
    with langfuse_receiving() as langfuse, receiving() as otlp:
        settings = {"LANGFUSE_BASE_URL": langfuse.receiver.url, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
        with serving(tmp_path, **settings, **KEYS, **AUDIO) as server:
            session = spoken_call(server)
            record = recorded(server, session)
            turns = server.turns(session)
            agent = [turn["index"] for turn in turns if any(e.get("heard_ms") for e in turn["entries"])]
            wait_for(server, "audio", "sent", 2 + len(agent))
            loaded = (tmp_path / "modules.txt").read_text().splitlines()
        spans = {one.span: one for one in langfuse.receiver.spans()}
    assert [name for name in loaded if name.partition(".")[0] in ("langfuse", "soundfile", "httpx2")] == []
    assert langfuse.faults == []
    assert all(
        (one["traceId"], one["contentType"]) == (spans[one["observationId"]].trace, "audio/ogg")
        for one in langfuse.asked
    )
    by_name = {
        (
            spans[one["observationId"]].name.split(" ")[0],
            spans[one["observationId"]].attributes.get("patchbay.turn"),
            one["field"],
        ): one
        for one in langfuse.asked
    }
    (spoken,) = [turn["index"] for turn in turns if any(caller_spoke(entry) for entry in turn["entries"])]
    wanted = {("patchbay.call", None, "output"), ("invoke_agent", spoken, "input")}
    assert set(by_name) == wanted | {("invoke_agent", index, "output") for index in agent}

    whole, rate_hz = langfuse.sound(by_name["patchbay.call", None, "output"])
    assert whole.shape[1] == 2
    assert abs(len(whole) / rate_hz * 1000 - record["recording"]["duration_ms"]) < 50
    caller, rate_hz = langfuse.sound(by_name["invoke_agent", spoken, "input"])
    assert caller.shape[1] == 1
    assert 0.9 < len(caller) / rate_hz < 1.8
    assert abs(pitch_hz(caller[:, 0], rate_hz) - TONE_HZ) < 5
    for index in agent:
        answer, rate_hz = langfuse.sound(by_name["invoke_agent", index, "output"])
        assert float(np.abs(answer).max()) > 0.01
        assert abs(pitch_hz(answer[:, 0], rate_hz) - TONE_HZ) > 5
    assert not list((tmp_path / "data" / "telemetry").glob("*"))
    assert b"OggS" not in otlp.raw()
    for name in ("xylophone", "marmalade"):
        assert name not in server.log()


@pytest.mark.parametrize(("content", "agent"), [("text", "audio"), ("audio", "text"), ("none", "audio")])
def test_no_sound_leaves_unless_settings_and_agent_allow_it(tmp_path: Path, content: str, agent: str) -> None:
    write_server_files(tmp_path)
    file = tmp_path / "agents" / "desk.yaml"
    file.write_text(f"{file.read_text()}telemetry: {agent}\n")
    with langfuse_receiving() as langfuse:
        settings = {"LANGFUSE_BASE_URL": langfuse.receiver.url, "PATCHBAY_TELEMETRY__CONTENT": content}
        with serving(tmp_path, **settings, **KEYS) as server:
            session = quick_call(server)
            recorded(server, session)
            time.sleep(2)
            server.signal(signal.SIGTERM)
            server.wait(20)
    assert len(langfuse.receiver.turns(session)) == 1
    assert (langfuse.asked, langfuse.uploads) == ([], 0)
    assert b"OggS" not in langfuse.receiver.raw()


def test_an_upload_that_fails_is_reported_and_counted_and_nothing_else_suffers(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        langfuse.upload_status = 403
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS, **AUDIO) as server:
            session = quick_call(server)
            recorded(server, session)
            wait_for(server, "audio", "rejected", 2)
            assert counted(server, "audio", "sent") == 0
            langfuse.upload_status = 200
            session = quick_call(server)
            recorded(server, session)
            wait_for(server, "audio", "sent", 2)
    failed = [one for one in langfuse.reports if one["uploadHttpStatus"] == 403]
    assert [one["uploadHttpError"] for one in failed] == ['{"error": "the bucket says no"}'] * 2


def test_the_sound_outlives_a_courier_that_is_killed(tmp_path: Path) -> None:
    with langfuse_receiving() as langfuse:
        langfuse.receiver.answer = lambda number: (
            503 if any("media" in one.path for one in langfuse.receiver.asked) else "ok"
        )
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS, **AUDIO) as server:
            session = quick_call(server)
            recorded(server, session)
            langfuse.receiver.wait(lambda: bool(asked(langfuse, "media")), "nothing was asked")
            for courier in couriers_of(server.process.pid):
                os.kill(courier, signal.SIGKILL)
            langfuse.receiver.answer = lambda number: "ok"
            wait_for(server, "audio", "sent", 2)
    assert len(langfuse.files) == 2


def test_calls_are_sent_again_with_their_scores_and_their_sound(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        session = spoken_call(server)
        recorded(server, session)
        score(server, session, "booked", True, "fine")
    with langfuse_receiving() as langfuse:
        given = {"LANGFUSE_BASE_URL": langfuse.receiver.url, **KEYS, **AUDIO}
        told = []
        for _ in range(2):
            code, answer, _ = send(tmp_path, session, **given)
            told.append((code, answer["destinations"][0]["scores"], answer["destinations"][0]["sounds"]))
    files = len(langfuse.files)
    assert told == [(0, 1, files)] * 2
    assert langfuse.uploads == files >= 4  # the same sound is the same file
    assert langfuse.faults == []
    assert [one["comment"] for one in langfuse.scores.values()] == ["fine"]


def asked(langfuse: Langfuse, path: str = "media") -> list[Any]:
    """The requests to one of Langfuse's interfaces."""
    return [one for one in langfuse.receiver.asked if one.path.endswith(path)]


def session_in_spans(langfuse: Langfuse) -> str:
    """The session of the call, as its spans have it."""
    (found,) = {one.attributes["session.id"] for one in langfuse.receiver.spans()}
    return str(found)


def test_a_server_that_stops_sends_the_sound_of_its_last_call(tmp_path: Path) -> None:
    with (
        langfuse_receiving() as langfuse,
        serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **KEYS, **AUDIO) as server,
    ):
        quick_call(server)
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert len(langfuse.files) == 2
    assert not list((tmp_path / "data" / "telemetry").glob("*"))


@pytest.mark.node
def test_recordings_in_a_container_are_read_with_the_couriers_own_client(tmp_path: Path) -> None:
    pytest.importorskip("azure.storage.blob", reason="pip install patchbay[azure-blob]")
    with langfuse_receiving() as langfuse, running_azurite() as azurite:
        place = {"PATCHBAY_BLOBS": azurite.place("calls"), "PATCHBAY_BLOB_KEY": AZURITE_KEY}
        with serving(tmp_path, LANGFUSE_BASE_URL=langfuse.receiver.url, **place, **KEYS, **AUDIO) as server:
            session = quick_call(server)
            recorded(server, session)
            wait_for(server, "audio", "sent", 2)
            assert AZURITE_KEY not in server.log()
    assert len(langfuse.files) == 2
    assert langfuse.faults == []
