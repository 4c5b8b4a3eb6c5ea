"""Pipecat's `TwilioFrameSerializer` at 8 kHz, our far end and our codec understand each other byte for byte."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import orjson
import pytest
from peers.client_calls import HERE, PYTHON, needs_python

from audio.formats import Coding
from audio.g711 import decode, encode
from gateway.callers.twilio.codec import TwilioCodec
from gateway.softphone.far_ends.twilio import TwilioStream

pytestmark = pytest.mark.pipecat
FRAMES = [random.Random(3).randbytes(160) for _ in range(50)]


def talked(messages: list[bytes], sound: list[bytes]) -> dict[str, Any]:
    """What the serializer hears and sends."""
    needs_python("pipecat-ai")
    given = {"messages": [message.decode() for message in messages], "sound": [run.hex() for run in sound]}
    ran = subprocess.run(
        [PYTHON, str(HERE / "client_pipecat_twilio.py")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_each_hears_what_the_other_says() -> None:
    far_end = TwilioStream(account_sid="AC01", call_sid="CA02", stream_sid="MZ1")
    codec = TwilioCodec("AC01", "CA02")
    begun = far_end.begin()
    for message in begun:
        codec.read_text(message)
    spoken = [message for frame in FRAMES for message in far_end.speak(frame)]
    keys = [message for key in "0123456789*#" for message in far_end.press(key)]
    linear = [decode(frame, Coding.PCMU) for frame in reversed(FRAMES)]
    found = talked([*begun, *spoken, *keys, *far_end.press("1")], linear)
    assert [bytes.fromhex(heard) for heard in found["heard"]] == [decode(frame, Coding.PCMU) for frame in FRAMES]
    assert "".join(found["digits"]) == "0123456789*#1"

    answers = [encode(run, Coding.PCMU) for run in linear]
    *said, clear = found["sent"]
    for message in said:
        assert far_end.text(message.encode(), 0) == []
    assert far_end.warned == set()
    assert far_end.ear.heard(10_000) == b"".join(answers)
    assert far_end.text(clear.encode(), 500) == []
    assert far_end.ear.heard_bytes(10_000) == 8 * 500

    ours = [orjson.loads(codec.sound(answer)) for answer in answers]
    assert [orjson.loads(message) for message in said] == ours
    assert orjson.loads(clear) == orjson.loads(codec.clear()[0])
