"""Measures how often the embedded model accepts sentences of the demo agent's grammar, and refuses others.

    python -m bench.offline_grammar [--calibrate] [--out FILE]

Each sentence of `offline_phrases.py` is spoken by voices of flite and espeak-ng (both programs must be installed),
converted to the caller's format, framed, and passed to the code that runs in calls: voice detection, recogniser and
verdict. `--calibrate` uses the calibration lists instead, and prints the regression that `verdict.py` quotes.
"""

from __future__ import annotations

import argparse
import audioop
import json
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame
from audio.resampling import resample_in_place
from bench.offline_phrases import CALIBRATION_IN, CALIBRATION_OUT, IN_GRAMMAR, OUT_OF_GRAMMAR, Said
from gateway.models.local.dialogue.dialogue import compile_dialogue
from gateway.models.local.dialogue.rules import Dialogue
from gateway.models.local.dialogue.words import words_of
from gateway.models.local.engine import shared_parts
from gateway.models.local.speech.caller_speech import CallerSpeech, SpeechEnded
from gateway.models.local.speech.detector import SpeechModel
from gateway.models.local.speech.recogniser import Recognised, Recogniser, Vocabulary
from gateway.models.local.speech.verdict import accepted, weigh
from sessions.ports import JsonObject

ROOT = Path(__file__).parent.parent
OUT = ROOT / "bench" / "results" / "offline_grammar.json"
VOICES = {
    "flite rms": ["flite", "-voice", "rms"],
    "flite kal16": ["flite", "-voice", "kal16"],
    "flite slt": ["flite", "-voice", "slt"],
    "flite awb": ["flite", "-voice", "awb"],
    "espeak-ng en-us": ["espeak-ng", "-v", "en-us", "-s", "165"],
    "espeak-ng en-us+klatt2": ["espeak-ng", "-v", "en-us+klatt2", "-s", "150"],
}
FORMATS = {"16 kHz": PCM16_24K, "8 kHz mu-law": PCMU_8K}
LEAD_MS, TAIL_MS = 700, 900
LINE_NOISE = 2.0  # rms of 16-bit samples: -84 dB of full scale
DETECTION: JsonObject = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


@dataclass(frozen=True, slots=True)
class Trial:
    """One sentence, spoken by one voice in one format, with its result."""

    inside: bool
    voice: str
    format: str
    state: str
    said: str
    heard: Recognised | None
    speech_ms: int
    taken: str | None
    right: bool


def render(voice: str, text: str, folder: Path) -> bytes:
    """Speak a text with a voice; returns PCM16 at 16 kHz."""
    path = folder / "said.wav"
    command = VOICES[voice]
    tail = ["-t", text, "-o", str(path)] if command[0] == "flite" else ["-w", str(path), text]
    subprocess.run([*command, *tail], check=True, capture_output=True)
    with wave.open(str(path)) as reader:
        rate_hz, pcm16 = reader.getframerate(), reader.readframes(reader.getnframes())
    return pcm16 if rate_hz == 16_000 else b"".join(resample_in_place([pcm16], rate_hz, 16_000))


def caller_sound(pcm16: bytes, format: AudioFormat) -> bytes:
    """Add silence before and after, and a little noise; returns the caller's format."""
    padded = bytes(LEAD_MS * 32) + pcm16 + bytes(TAIL_MS * 32)
    samples = np.frombuffer(padded, dtype="<i2") + np.random.default_rng(1).normal(0, LINE_NOISE, len(padded) // 2)
    noisy = samples.clip(-32768, 32767).astype("<i2").tobytes()
    converted = b"".join(resample_in_place([noisy], 16_000, format.rate_hz))
    return audioop.lin2ulaw(converted, 2) if format == PCMU_8K else converted


def recognise(vocabulary: Vocabulary, sound: bytes, format: AudioFormat, state: str) -> tuple[Recognised | None, int]:
    """What the speech parts of a new call recognise: the last stretch of speech, and its length in ms."""
    parts = shared_parts()
    recogniser = Recogniser(parts.decoders, vocabulary)
    caller_speech = CallerSpeech(SpeechModel(parts.speech_model), recogniser)
    caller_speech.configure(format, DETECTION)
    found: tuple[Recognised | None, int] = (None, 0)
    step = format.bytes_for_ms(20)
    for begin in range(0, len(sound), step):
        frame = AudioFrame(sound[begin : begin + step], format, begin // format.sample_bytes)
        for event in caller_speech.feed(frame, state):
            if isinstance(event, SpeechEnded):
                found = recogniser.finish(), event.speech_ms
    recogniser.drop()
    return found


def same_meaning(dialogue: Dialogue, one: str, other: str, state: str) -> bool:
    """Whether the dialogue understands two sentences in the same way."""
    first, second = (dialogue.understand(words_of(text), state) for text in (one, other))
    return first is not None and second is not None and first.rule is second.rule and first.found == second.found


def trials(dialogue: Dialogue, inside: tuple[Said, ...], outside: tuple[Said, ...]) -> Iterator[Trial]:
    """Yield the trials of every sentence with every voice in every format."""
    vocabulary = Vocabulary(dialogue)
    shared_parts().decoders.teach(vocabulary)
    with tempfile.TemporaryDirectory() as name:
        for is_inside, sentences in ((True, inside), (False, outside)):
            for voice in VOICES:
                for state, said in sentences:
                    pcm16 = render(voice, said, Path(name))
                    for label, format in FORMATS.items():
                        heard, speech_ms = recognise(vocabulary, caller_sound(pcm16, format), format, state)
                        taken = accepted(heard, speech_ms, partial(dialogue.accepts, state=state))
                        right = taken is not None and same_meaning(dialogue, said, taken, state)
                        yield Trial(is_inside, voice, label, state, said, heard, speech_ms, taken, right)


def share(rows: list[Trial], what: str) -> float:
    """The share of these trials that were accepted, or right."""
    hits = sum(row.right if what == "right" else row.taken is not None for row in rows)
    return round(hits / len(rows), 4) if rows else 0.0


def figures(rows: list[Trial], dialogue: Dialogue) -> list[dict[str, str | float | int]]:
    """One line for each voice and format, and lines for groups of voices."""
    lines: list[dict[str, str | float | int]] = []
    groups = [(voice, label, {voice}, {label}) for voice in VOICES for label in FORMATS]
    flite = {voice for voice in VOICES if voice.startswith("flite")}
    groups += [("all of flite", label, flite, {label}) for label in FORMATS]
    groups += [("all but klatt2", "both", set(VOICES) - {"espeak-ng en-us+klatt2"}, set(FORMATS))]
    groups += [("all", "both", set(VOICES), set(FORMATS))]
    for voice, label, voices, labels in groups:
        some = [row for row in rows if row.voice in voices and row.format in labels]
        inside, outside = [row for row in some if row.inside], [row for row in some if not row.inside]
        lines.append(
            {
                "voice": voice,
                "format": label,
                "in": len(inside),
                "accepted": share(inside, "taken"),
                "right": share(inside, "right"),
                "out": len(outside),
                "false_accepts": share(outside, "taken"),
            }
        )
    return lines


def regression(rows: list[Trial], dialogue: Dialogue) -> tuple[list[float], float]:
    """Weights and offset of a logistic regression over the evidence; both classes have the same weight."""
    fields: list[list[float]] = []
    labels: list[float] = []
    for row in rows:
        for extra in range(3):
            words = row.heard.text.split() if row.heard is not None else []
            text = " ".join(words[: max(0, len(words) - extra)])
            if text and dialogue.accepts(text, row.state) and row.heard is not None:
                evidence = weigh(row.heard.parts[: len(row.heard.parts) - extra], row.speech_ms)
                fields.append([evidence.mean, evidence.worst, evidence.stretch, evidence.gap])
                labels.append(float(row.inside))
                break
    x, y = np.array(fields), np.array(labels)
    mean, deviation = x.mean(0), x.std(0)
    scaled: NDArray[np.float64] = np.c_[(x - mean) / deviation, np.ones(len(x))]
    weights = np.zeros(scaled.shape[1])
    weighting = np.where(y == 1, 0.5 / (y == 1).sum(), 0.5 / (y == 0).sum())
    for _ in range(4000):
        slope = scaled.T @ (weighting * (1 / (1 + np.exp(-scaled @ weights)) - y))
        weights -= 2 * (slope + 1e-3 * np.r_[weights[:-1], 0])
    unscaled = weights[:-1] / deviation
    return list(unscaled.round(3)), round(float(weights[-1] - (unscaled * mean).sum()), 3)


def main() -> None:
    """Run the trials, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    dialogue = compile_dialogue(yaml.safe_load((ROOT / "agents" / "front-desk.yaml").read_text())["offline"])
    began = time.perf_counter()
    lists = (CALIBRATION_IN, CALIBRATION_OUT) if options.calibrate else (IN_GRAMMAR, OUT_OF_GRAMMAR)
    rows = list(trials(dialogue, *lists))
    lines = figures(rows, dialogue)
    print("| voice | format | in: accepted | in: right | out: accepted |\n|---|---|---|---|---|")
    for line in lines:
        shares = " | ".join(f"{float(line[key]):.1%}" for key in ("accepted", "right", "false_accepts"))
        print(f"| {line['voice']} | {line['format']} | {shares} |")
    if options.calibrate:
        print("regression:", *regression(rows, dialogue))
        return
    wrong = [
        {"voice": row.voice, "format": row.format, "state": row.state, "said": row.said, "taken": row.taken}
        for row in rows
        if (not row.right if row.inside else row.taken is not None)
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = {"sentences": [len(lists[0]), len(lists[1])], "seconds": round(time.perf_counter() - began, 1)}
    options.out.write_text(json.dumps({**result, "figures": lines, "wrong": wrong}, indent=1) + "\n")


if __name__ == "__main__":
    main()
