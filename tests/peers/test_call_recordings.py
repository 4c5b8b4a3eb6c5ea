"""`patchbay call` with human recordings, against the embedded and a scripted model."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.demo_desk import ANSWER, ECHO, call, demo_desk, needs_local
from peers.server_process import ROOT, Server, environment

from audio.formats import PCM16_24K, AudioFrame
from audio.levels import FrameTime, LevelTrack
from audio.wav import read_wav

pytestmark = pytest.mark.timed

RECORDINGS = ROOT.parent / "shared" / "recordings"
ASTERISK = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the shared recordings are not beside the project"
)
needs_asterisk = pytest.mark.skipif(
    not ASTERISK.is_dir(), reason="install Debian's asterisk-core-sounds-en-wav for human telephone prompts"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo agent, and with an agent that answers any sound."""
    with demo_desk(tmp_path_factory.mktemp("recordings"), echo=f"{ECHO}recording: on\n") as server:
        yield server


def audible(pcm: bytes) -> bool:
    """Whether there is sound above the gate anywhere in a 24 kHz track."""
    step = PCM16_24K.bytes_for_ms(100)
    for start in range(0, len(pcm), step * 600):
        track = LevelTrack(PCM16_24K, FrameTime.BEGIN)
        for at in range(start, min(start + step * 600, len(pcm)), step):
            track.feed(AudioFrame(pcm[at : at + step], PCM16_24K, at // 2), at // 48)
        if track.first_audible_ms() is not None:
            return True
    return False


@needs_recordings
def test_a_human_recording_is_answered_and_the_record_of_the_call_is_kept_and_deleted(
    desk: Server, tmp_path: Path
) -> None:
    turns = [str(RECORDINGS / f"room-booking-{name}.wav") for name in ("book_a_room", "today", "230pm")]
    report = call(desk, "echo", *turns, save=tmp_path / "call.wav")
    assert [turn["error"] for turn in report["turns"]] == [None, None, None]
    assert all(turn["answer"] == ANSWER for turn in report["turns"])
    assert all(turn["latency_ms"] is not None and 300 < turn["latency_ms"] < 3000 for turn in report["turns"])
    format, tracks = read_wav(tmp_path / "call.wav")
    assert format == PCM16_24K
    assert len(tracks) == 2
    assert all(audible(track) for track in tracks)
    session_id = report["session_id"]
    session = kept(desk, session_id)
    assert session["end_reason"] == "caller_hung_up"
    assert len(session["latencies_ms"]) == 3
    assert [said(turn, "caller") for turn in desk.turns(session_id)[1:]] == ["Something was said."] * 3
    with urllib.request.urlopen(f"{desk.url}/api/v1/sessions/{session_id}/recording", timeout=5) as answer:
        sound = answer.read()
        assert answer.headers["content-type"] in ("audio/flac", "audio/wav")
    assert len(sound) > 10_000
    assert desk.ask(f"/api/v1/sessions/{session_id}", method="DELETE")[0] == 200
    assert desk.ask(f"/api/v1/sessions/{session_id}/recording")[0] == 404


@needs_recordings
def test_a_recording_can_cause_a_barge_in(desk: Server, tmp_path: Path) -> None:
    turns = [str(RECORDINGS / f"room-booking-{name}.wav") for name in ("book_a_room", "today")]
    report = call(desk, "echo", *turns, "--barge-in", "2:200", save=tmp_path / "call.wav")
    assert report["turns"][0]["interrupted"] is True
    assert report["turns"][1]["answer"] == ANSWER
    interrupted = desk.turns(report["session_id"])[1]
    assert interrupted["interrupted"] is True
    spoken = next(entry for entry in interrupted["entries"] if entry["speaker"] == "agent")
    assert spoken["heard"] == "reported"
    assert spoken["heard_ms"] < 2500  # the answer lasts 3 s


def test_an_interrupted_call_is_saved_and_reported(desk: Server, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gateway.cli",
        "call",
        "echo",
        "--url",
        desk.url,
        "--save",
        str(tmp_path / "c.wav"),
    ]
    words = [part for word in ("one", "two", "three") for part in ("--text", word)]
    with subprocess.Popen(
        [*command, *words], cwd=desk.folder, env=environment(desk.folder, {}), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        shown = ""
        while "hear" not in shown:  # the first turn is being answered
            line = process.stdout.readline()
            assert line, shown
            shown += line
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=20)
    assert process.returncode == 1  # two turns were not said
    assert "the call had ended" in " ".join(shown.split())
    assert "ended: interrupted" in shown
    _, tracks = read_wav(tmp_path / "c.wav")
    assert all(audible(track) for track in tracks)


def test_a_call_that_is_interrupted_before_it_is_open_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "gateway.cli", "call", "echo", "--url", url, "--text", "one", "--json"]
        caller = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path, {}), stdout=subprocess.PIPE)
        with caller, silent.accept()[0]:
            caller.send_signal(signal.SIGINT)
            output, _ = caller.communicate(timeout=20)
    assert caller.returncode == 1
    assert json.loads(output)["error"]["message"] == "interrupted before there was a call"


@needs_asterisk
def test_telephone_prompts_are_answered(desk: Server, tmp_path: Path) -> None:
    names = ("vm-goodbye", "conf-onlyperson")
    turns = [str(ASTERISK / f"{name}.wav") for name in names if (ASTERISK / f"{name}.wav").is_file()]
    assert turns, "the sound package lacks the prompts that this test plays"
    report = call(desk, "echo", *turns, save=tmp_path / "call.wav")
    assert all(turn["error"] is None and turn["latency_ms"] is not None for turn in report["turns"])


@needs_recordings
@needs_local
def test_a_question_that_is_no_booking_is_answered_and_books_nothing(desk: Server, tmp_path: Path) -> None:
    report = call(desk, "front-desk", str(RECORDINGS / "weather_question.wav"), save=tmp_path / "call.wav")
    [turn] = report["turns"]
    assert turn["error"] is None
    assert turn["answer"]
    assert turn["tools"] == []


@needs_local
def test_a_table_is_booked_by_voice(desk: Server, tmp_path: Path) -> None:
    words = ("I want to book a table", "two people", "tomorrow at seven pm", "my name is Robinson", "yes please")
    texts = [argument for word in words for argument in ("--text", word)]
    report = call(desk, "front-desk", *texts, save=tmp_path / "call.wav")
    tools = [tool for turn in report["turns"] for tool in turn["tools"]]
    assert [tool["name"] for tool in tools] == ["book_table"], report
    arguments = json.loads(tools[0]["arguments"])
    assert (arguments["name"], arguments["party_size"], arguments["time"]) == ("Robinson", 2, "19:00")
    with sqlite3.connect(desk.folder / "data" / "bookings.db") as bookings:
        rows = bookings.execute("select * from bookings").fetchall()
    assert any(arguments["name"] in row and "19:00" in row for row in rows)


def test_a_call_that_is_refused_says_why(desk: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.cli", "call", "nobody", "text:hello", "--url", desk.url]
    (tmp_path / "silence.wav").write_bytes(wav_of_silence())
    command[5] = str(tmp_path / "silence.wav")
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(desk.folder, {}), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "There is no such agent" in done.stderr
    assert "Traceback" not in done.stderr


def wav_of_silence() -> bytes:
    """A WAV file with a tenth of a second of silence."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 4836, b"WAVE", b"fmt ", 16, 1, 1, 24000, 48000, 2, 16, b"data", 4800
    )
    return head + bytes(4800)


def kept(server: Server, session_id: str) -> dict[str, Any]:
    """The document of the session, once its recording is ready."""
    until = time.monotonic() + 15
    while True:
        session: dict[str, Any] = server.ended(session_id)
        if session["recording"]["state"] == "ready":
            return session
        assert time.monotonic() < until, session
        time.sleep(0.1)


def said(turn: Any, speaker: str) -> str:
    """The text of one side in a turn."""
    return " ".join(
        entry["text"] for entry in turn["entries"] if entry["kind"] == "said" and entry["speaker"] == speaker
    )
