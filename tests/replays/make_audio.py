"""Makes the voices of the replays with flite and espeak-ng: `python tests/replays/make_audio.py`.

What it made is committed, so that a replay sounds the same everywhere: another version of a synthesiser speaks with
other pauses, and the expectations count milliseconds. Debian: `apt-get install flite espeak-ng`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio.formats import AudioFormat, Coding
from audio.resampling import resample_in_place
from audio.wav import read_wav, write_wav

FOLDER = Path(__file__).resolve().parent / "audio"


@dataclass(frozen=True, slots=True)
class Voice:
    """One sentence by one voice, kept at `rate_hz`."""

    name: str
    program: str  # flite or espeak-ng
    voice: str
    rate_hz: int
    words: str


VOICES = (
    Voice("book", "flite", "slt", 16000, "I would like to book a table please."),
    Voice("two-people", "flite", "slt", 16000, "For two people."),
    Voice("tomorrow-at-seven", "flite", "slt", 16000, "Tomorrow at seven."),
    Voice("smith", "flite", "slt", 16000, "My name is Smith."),
    Voice("opening-hours", "flite", "rms", 16000, "When are you open?"),
    Voice("wait", "flite", "rms", 16000, "Wait, wait. Only on Sunday."),
    Voice("thank-you", "flite", "rms", 16000, "Thank you, goodbye."),
    Voice("dish", "flite", "awb", 16000, "What is the dish of the day?"),
    Voice("barolo", "flite", "awb", 16000, "Do you have a Barolo?"),
    Voice("cake", "flite", "slt", 16000, "Order a cake for Anna, and show me the way."),
    Voice("telephone", "flite", "kal", 8000, "Is there a table free tonight?"),
    Voice("agent-hello", "espeak-ng", "en-gb", 16000, "Hello, Harbour Restaurant. How can I help?"),
    Voice(
        "agent-hours",
        "espeak-ng",
        "en-gb",
        16000,
        "We are open from noon to ten in the evening. On Friday and Saturday we stay until eleven, "
        "and on Sunday we close at nine.",
    ),
)


def make(voice: Voice) -> Path:
    """Speak, bring it to the rate that is kept, cut the silence at both ends to 60 ms, and write it."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        if voice.program == "flite":
            command = ["flite", "-voice", voice.voice, "-t", voice.words, "-o", str(raw)]
        else:
            command = ["espeak-ng", "-v", voice.voice, "-s", "165", "-w", str(raw), voice.words]
        subprocess.run(command, check=True)
        spoken, channels = read_wav(raw)
    pcm16 = b"".join(resample_in_place([channels[0]], spoken.rate_hz, voice.rate_hz))
    path = FOLDER / f"{voice.name}.wav"
    write_wav(path, AudioFormat(Coding.PCM16, voice.rate_hz), [_trimmed(pcm16, voice.rate_hz)])
    return path


def _trimmed(pcm16: bytes, rate_hz: int) -> bytes:
    samples = np.frombuffer(pcm16, dtype="<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 300)
    edge = rate_hz * 60 // 1000
    kept: bytes = samples[max(0, loud[0] - edge) : loud[-1] + edge].tobytes()
    return kept


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in VOICES:
        made = make(one)
        sys.stdout.write(f"{made.name}: {made.stat().st_size} bytes\n")
