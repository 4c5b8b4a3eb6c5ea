"""Replays as files: what a caller does and when, as steps. `tests/replays/README.md` describes the format.

A replay is a folder with `call.jsonl`, or the event log that the gateway kept of a call, with its raw track.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import yaml

from audio.formats import PCM16_24K, AudioFormat, AudioFrame, parse_format
from audio.resampling import Converter
from audio.wav import read_wav
from gateway.recording.eventlog import EventLogHeader, LoggedMessage, LoggedSound, Source, read_event_log
from gateway.recording.tracks import CALLER, CALLER_FILE, INDEX_FILE, read_index, stretches

REPLAYS = Path(__file__).resolve().parents[2] / "replays"
AUDIO = REPLAYS / "audio"
FRAME_MS = 20
HEADER_KEYS = {"replay", "shows", "query", "microphone", "given", "allows"}
EXPECT_KEYS = {
    "end_reason", "closed", "legs", "turns", "bookings", "errors", "responses", "counts", "never", "sees", "summary",
    "recording", "unfinished",
}  # fmt: skip


class BadReplay(ValueError):
    """A replay's file cannot be used. The message names the file and the line."""


@dataclass(frozen=True, slots=True)
class When:
    """A moment: `at_ms` after the call's start, or after the first event of type `after` since the last step."""

    at_ms: int
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message. A text is sent unchanged; in a mapping, `$names` are filled in first."""

    when: When
    text: bytes | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sound:
    """Speak: frames in the microphone's format, the first one now, each `FRAME_MS` after the one before."""

    when: When
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Microphone:
    """From now on send silence between speech, or nothing where `on` is False."""

    when: When
    on: bool


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of `MemoryLeg`: hang_up, drop, stall, resume, reorder."""

    when: When
    verb: str


Step: TypeAlias = Say | Sound | Microphone | Verb


@dataclass(frozen=True, slots=True)
class Replay:
    """One recorded conversation: what the caller does. `folder` is None where it comes from an event log."""

    name: str
    folder: Path | None
    steps: tuple[Step, ...]
    format: AudioFormat  # of the microphone
    query: Mapping[str, str] = field(default_factory=dict)
    given: tuple[Mapping[str, Any], ...] = ()  # bookings that exist before the call
    allows: frozenset[str] = frozenset()  # protocol violations that the script's model commits
    logged: tuple[bytes, ...] = ()  # what the gateway sent in the logged call
    agent_lines: str = ""  # additional lines for the agent's file

    @property
    def script(self) -> Path:
        """The scripted model's file."""
        assert self.folder is not None
        return self.folder / "model.yaml"

    @property
    def agent_text(self) -> str:
        """The agent's file."""
        assert self.folder is not None
        return (self.folder / "agent.yaml").read_text(encoding="utf-8") + self.agent_lines

    def expected(self) -> dict[str, Any]:
        """The expected outcome."""
        assert self.folder is not None
        path = self.folder / "expect.yaml"
        expected = yaml.safe_load(path.read_text(encoding="utf-8"))
        if unknown := set(expected) - EXPECT_KEYS:
            raise BadReplay(f"{path}: {', '.join(sorted(unknown))} is unknown")
        return dict(expected)


def all_replays() -> list[str]:
    """The names of all replays, which are their folders' names."""
    return sorted(path.parent.name for path in REPLAYS.glob("*/call.jsonl"))


def load_replay(name: str) -> Replay:
    """Read a replay from this folder. Raises BadReplay."""
    path = REPLAYS / name / "call.jsonl"
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    header = _object(lines[0], path, 1)
    if unknown := set(header) - HEADER_KEYS:
        raise BadReplay(f"{path}:1: {', '.join(sorted(unknown))} is unknown")
    if header.get("replay") != name:
        raise BadReplay(f"{path}:1: this is the replay {header.get('replay')!r}")
    format = parse_format(header["microphone"]) if "microphone" in header else PCM16_24K
    steps = [_step(_object(line, path, at), format, f"{path}:{at}") for at, line in enumerate(lines[1:], start=2)]
    return Replay(
        name=name,
        folder=path.parent,
        steps=tuple(steps),
        format=format,
        query=header.get("query", {}),
        given=tuple(header.get("given", ())),
        allows=frozenset(header.get("allows", ())),
    )


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadReplay(f"{path}:{number}: is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise BadReplay(f"{path}:{number}: is not an object")
    return parsed


def _step(line: Mapping[str, Any], format: AudioFormat, where: str) -> Step:
    rest = dict(line)
    when = When(int(rest.pop("at_ms", 0)), rest.pop("after", None))
    if rest.pop("from", None) != "caller":
        raise BadReplay(f'{where}: a line is {{"from": "caller"}}; expectations belong in expect.yaml')
    match rest:
        case {"text": str(text), **none} if not none:
            return Say(when, text.encode())
        case {"text": dict(message), **none} if not none:
            return Say(when, message)
        case {"sound": dict(sound), **none} if not none:
            return Sound(when, tuple(frames_of(sound, format, where)))
        case {"microphone": ("on" | "off") as state, **none} if not none:
            return Microphone(when, state == "on")
        case {"line": ("hang_up" | "drop" | "stall" | "resume" | "reorder") as verb, **none} if not none:
            return Verb(when, verb)
    raise BadReplay(f"{where}: must have one of text, sound, microphone, line")


def frames_of(sound: Mapping[str, Any], format: AudioFormat, where: str = "") -> list[bytes]:
    """The frames of `{file, gain?, silence_ms?}`: a WAV from the audio folder in the microphone's format."""
    source, channels = read_wav(AUDIO / str(sound["file"]))
    if unknown := set(sound) - {"file", "silence_ms", "from_ms", "ms"}:
        raise BadReplay(f"{where}: {', '.join(sorted(unknown))} is unknown")
    begin = source.bytes_for_ms(int(sound.get("from_ms", 0)))
    end = begin + source.bytes_for_ms(int(sound["ms"])) if "ms" in sound else None
    payload = Converter(source, format).convert(AudioFrame(channels[0][begin:end], source, 0)).payload
    step = format.bytes_for_ms(FRAME_MS)
    frames = [payload[at : at + step] for at in range(0, len(payload), step)]
    quiet = silence(format)
    if frames and len(frames[-1]) < step:
        frames[-1] += quiet[len(frames[-1]) :]
    return frames + [quiet] * (int(sound.get("silence_ms", 0)) // FRAME_MS)


def silence(format: AudioFormat) -> bytes:
    """A frame of silence."""
    samples = format.rate_hz * FRAME_MS // 1000
    quiet = {"pcmu": b"\xff", "pcma": b"\xd5"}.get(format.coding.value, b"\x00\x00")
    return quiet * samples


# ---- logs kept by the gateway


def replay_of_log(events: Path, tracks: Path) -> tuple[EventLogHeader, Replay]:
    """A call as a replay, from its event log and the folder of its raw tracks."""
    header, logged = read_event_log(events)
    format = parse_format(header.formats["caller"])
    sound, format = _caller_sound(tracks, format)
    steps: list[Step] = []
    said: list[bytes] = []
    for line in logged:
        match line:
            case LoggedMessage(at_ms, Source.CALLER, text):
                steps.append(Say(When(at_ms), text.encode()))
            case LoggedMessage(_, Source.GATEWAY, text):
                said.append(text.encode())
            case LoggedSound(at_ms, Source.CALLER, _, start_sample, samples, until_ms):
                payload = sound[start_sample * format.sample_bytes : (start_sample + samples) * format.sample_bytes]
                steps.append(Sound(When(at_ms), tuple(_cut(payload, format, until_ms - at_ms))))
    return header, Replay(header.agent, None, tuple(steps), format, logged=tuple(said))


def _caller_sound(tracks: Path, expected: AudioFormat) -> tuple[bytes, AudioFormat]:
    """The caller's track from sample 0, and its format. A track with several formats is not supported."""
    file = tracks / CALLER_FILE
    if not file.exists():
        return b"", expected
    _, runs = read_index(tracks / INDEX_FILE)
    found = stretches(runs, CALLER, file.stat().st_size)
    formats = {stretch.run.format for stretch in found}
    if len(formats) != 1:
        raise BadReplay(f"{file}: holds {len(formats)} formats")
    return file.read_bytes(), formats.pop()


def _cut(payload: bytes, format: AudioFormat, last_after_ms: int) -> list[bytes]:
    """Split a stretch into the frames it arrived in. The last one arrived `last_after_ms` after the first."""
    count = last_after_ms // FRAME_MS + 1
    size = len(payload) // format.sample_bytes // count * format.sample_bytes
    return [payload[at * size : (at + 1) * size if at + 1 < count else None] for at in range(count)]
