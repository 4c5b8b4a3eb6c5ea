"""`patchbay call --as`: telephone calls to a real server, with the settings that the guide gives for a trial."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.demo_desk import ANSWER, call, demo_desk, needs_local, run_call
from peers.server_process import ROOT, Server

from audio.formats import PCM16_24K, AudioFrame
from audio.levels import FrameTime, LevelTrack
from audio.wav import read_wav
from gateway.callers.acs.sdk import missing_package

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

# The settings for a trial on loopback; the ports are other ones here, because tests run side by side.
SETTINGS = """\
public_url: https://voice.example
numbers: {"*": front-desk, "+1 202 555 0123": echo}
audiosocket_port: PORT
carriers:
  twilio:
    account_sid: AC00000000000000000000000000000000
    auth_token: made-up-token-for-a-trial
  asterisk:
    user: pbx
    password: made-up-password-for-a-trial
"""
ACS = """\
  acs:
    endpoint: http://127.0.0.1:PORT
    openid_url: http://127.0.0.1:PORT/openid
    access_key: bWFkZS11cCBrZXkgZm9yIGEgdHJpYWw=
    event_secret: made-up-secret-for-a-trial
    resource_id: 01234567-89ab-cdef-0123-456789abcdef
"""
WORDS = ("I want to book a table", "two people", "tomorrow at five pm", "my name is Robinson", "yes please")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo agent, and with an agent that answers any sound."""
    folder = tmp_path_factory.mktemp("trial")
    bookings = json.loads((ROOT / "mcp.json").read_text())
    bookings["mcpServers"]["bookings"]["env"]["PYTHONPATH"] = str(ROOT)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [str(free.getsockname()[1]) for free in (one, other)]
    settings = SETTINGS.replace("PORT", ports[0])
    if missing_package() is None:
        settings += ACS.replace("PORT", ports[1])
    with demo_desk(folder, mcp_json=json.dumps(bookings), patchbay_yaml=settings) as server:
        yield server


acs = pytest.param("acs", marks=pytest.mark.skipif(missing_package() is not None, reason="install patchbay[acs]"))


def texts(*words: str) -> list[str]:
    return [argument for word in words for argument in ("--text", word)]


def audible_ms(pcm: bytes) -> int:
    """How much of a 24 kHz track, in steps of 100 ms, has sound above the gate."""
    step, found = PCM16_24K.bytes_for_ms(100), 0
    for at in range(0, len(pcm), step):
        track = LevelTrack(PCM16_24K, FrameTime.BEGIN)
        track.feed(AudioFrame(pcm[at : at + step], PCM16_24K, 0), 0)
        found += 100 if track.first_audible_ms() is not None else 0
    return found


@needs_local
@pytest.mark.parametrize("carrier", ["twilio", "audiosocket", acs])
def test_a_table_is_booked_by_voice(desk: Server, tmp_path: Path, carrier: str) -> None:
    report = call(desk, "front-desk", "--as", carrier, *texts(*WORDS), save=tmp_path / "call.wav")
    assert (report["faults"], report["remark"], report["protocol"]) == ([], "", carrier)
    tools = [tool for turn in report["turns"] for tool in turn["tools"]]
    assert [(tool["name"], tool["error"]) for tool in tools] == [("book_table", None)], json.dumps(report)
    arguments = json.loads(tools[0]["arguments"])
    assert (arguments["name"], arguments["party_size"], arguments["time"]) == ("Robinson", 2, "17:00")
    with sqlite3.connect(desk.folder / "data" / "bookings.db") as bookings:
        rows = bookings.execute("select * from bookings").fetchall()
    assert any("Robinson" in row and "17:00" in row for row in rows)
    session = desk.ended(report["session_id"])
    assert (session["protocol"], session["end_reason"]) == (carrier, "caller_hung_up")


@pytest.mark.parametrize("carrier", ["twilio", "audiosocket", "asterisk", acs])
def test_each_carrier_is_answered_and_interrupted_and_both_sides_are_kept(
    desk: Server, tmp_path: Path, carrier: str
) -> None:
    words = texts("hello", "stop it please")
    report = call(desk, "echo", "--as", carrier, *words, "--barge-in", "2:600", save=tmp_path / "call.wav")
    first, second = report["turns"]
    assert (report["faults"], report["remark"], report["ended"]) == ([], "", "caller hung up")
    assert (first["error"], second["error"]) == (None, None)
    assert report["greeting"] == "Hello there."
    assert (first["heard"], first["interrupted"]) == ("Something was said.", True)
    assert (second["answer"], second["interrupted"]) == (ANSWER, False)
    assert 300 < first["latency_ms"] < 3000
    format, (caller, agent) = read_wav(tmp_path / "call.wav")
    assert (format, len(caller)) == (PCM16_24K, len(agent))
    assert audible_ms(caller) > 500
    # The greeting, a part of the first answer, and the whole of the second one, of 20 words.
    assert 3300 < audible_ms(agent) < 5800
    interrupted = next(turn for turn in desk.turns(report["session_id"]) if turn["interrupted"])
    spoken = next(entry for entry in interrupted["entries"] if entry.get("speaker") == "agent")
    assert 500 < spoken["heard_ms"] < 2500
    # Asterisk's channel counts what it drops at an interruption; the others echo marks, or nothing.
    assert spoken["heard"] in (("reported",) if carrier == "asterisk" else ("marked", "estimated"))


def test_a_call_that_cannot_be_made_says_why(desk: Server, tmp_path: Path) -> None:
    done = run_call(desk, "nobody", "--as", "twilio", *texts("hello"), save=tmp_path / "call.wav")
    assert done.returncode == 2
    assert "no number in `numbers:` leads to nobody" in done.stderr
    done = run_call(desk, "echo", "--as", "carrier-pigeon", *texts("hello"), save=tmp_path / "call.wav")
    assert done.returncode == 2
    config = desk.folder / "patchbay.yaml"
    config.write_text(config.read_text().replace("made-up-token-for-a-trial", "another-token"))
    try:
        done = run_call(desk, "echo", "--as", "twilio", *texts("hello"), save=tmp_path / "call.wav")
    finally:
        config.write_text(config.read_text().replace("another-token", "made-up-token-for-a-trial"))
    assert done.returncode == 1
    assert "refused the webhook of the call: The request is not signed by the carrier's account." in done.stderr
    assert "Traceback" not in done.stderr
    assert "another-token" not in done.stderr


@pytest.mark.skipif(missing_package() is not None, reason="install patchbay[acs]")
def test_azure_refuses_actions_that_are_signed_with_another_key(desk: Server, tmp_path: Path) -> None:
    config, key = desk.folder / "patchbay.yaml", "bWFkZS11cCBrZXkgZm9yIGEgdHJpYWw="
    settings = config.read_text()
    config.write_text(settings.replace(key, "YW5vdGhlciBtYWRlLXVwIGtleQ=="))
    try:
        done = run_call(desk, "echo", "--as", "acs", *texts("hello"), save=tmp_path / "call.wav")
    finally:
        config.write_text(settings)
    assert done.returncode == 1
    assert "the request is not signed with access_key" in done.stderr
    assert "Traceback" not in done.stderr
    assert key not in done.stderr


@pytest.mark.skipif(missing_package() is not None, reason="install patchbay[acs]")
def test_azure_cannot_be_played_where_something_else_listens(desk: Server, tmp_path: Path) -> None:
    found = re.search(r"endpoint: http://127.0.0.1:(\d+)", (desk.folder / "patchbay.yaml").read_text())
    assert found is not None
    with socket.create_server(("127.0.0.1", int(found[1]))):
        done = run_call(desk, "echo", "--as", "acs", *texts("hello"), save=tmp_path / "call.wav")
    assert done.returncode == 1
    assert f"nothing can listen at 127.0.0.1:{found[1]}, where carriers.acs.endpoint says that Azure is" in done.stderr
    assert "Traceback" not in done.stderr
