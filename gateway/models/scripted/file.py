"""Reads a script for the scripted model from YAML; `docs/scripted-model.md` describes every key.

An error names the file, the line and the field.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.mono import to_mono
from audio.wav import read_sound
from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.config.section import Default, Section
from gateway.config.value_file import FileProblem, decoded, yaml_file
from gateway.models.scripted.shape import (
    FAST,
    NO_FAULTS,
    Faults,
    Hears,
    Recording,
    Script,
    ScriptedTurn,
    ToolCall,
    Trouble,
    When,
)
from gateway.runtime.fairness import let_other_threads_run
from sessions.usage import TokenUsage

log = logging.getLogger(__name__)

MAX_MS = 600_000
# Nearly six minutes of PCM16 at 24 kHz.
MAX_RECORDING_BYTES = 1 << 24
SCRIPT_KEYS = (
    "model", "turns", "otherwise", "pace", "after_ms", "usage", "ms_per_word", "piece_ms", "voice_gate", "refuse",
)  # fmt: skip
TURN_KEYS = ("when", "hears", "say", "audio", "calls", "after_ms", "pace", "usage", "repeat", "fault")
WHEN_KEYS = tuple(field.name for field in fields_of(When))
USAGE_KEYS = tuple(field.name for field in fields_of(TokenUsage) if not field.name.endswith("_ms"))
FAULT_KEYS = (
    "drop", "stall", "incomplete", "error", "fail", "duplicate", "reorder", "lose", "late_audio", "done_late_ms",
)  # fmt: skip


class ScriptError(FileProblem):
    """A script cannot be used. Reads `FILE:LINE: FIELD: WHY`."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The script's name, for the log, and the folder of its recordings."""

    name: str
    folder: Path


def load_script(path: Path) -> Script:
    """Read a script and the recordings it names. Raises ScriptError, or OSError where the file cannot be read."""
    return read_script(decoded(read_whole(path, MAX_TEXT_BYTES), path, ScriptError), str(path), path.parent)


def read_script(text: str, name: str, folder: Path) -> Script:
    """Read a script's text. `name` is for errors, `folder` is where its recordings lie. Raises ScriptError."""
    file = yaml_file(text, name, ScriptError)
    with file.checking():
        return _script(Section.of({} if file.empty else file.value), _Source(name, folder))


def _script(script: Section, source: _Source) -> Script:
    script.only(SCRIPT_KEYS)
    base = ScriptedTurn(
        say="",
        when=None,
        hears=None,
        recording=None,
        after_ms=_ms(script, "after_ms", 0),
        pace=_pace(script, FAST),
        calls=(),
        usage=_usage(script, TokenUsage()),
        repeat=False,
        faults=NO_FAULTS,
    )
    turns = []
    for at, turn in enumerate(script.sections("turns")):
        let_other_threads_run(at)
        turns.append(_turn(turn, base, source))
    return Script(
        model=script.text("model", Path(source.name).stem),
        turns=tuple(turns),
        otherwise=_turn(script.section("otherwise"), base, source) if script.has("otherwise") else base,
        refuse=_refuse(script),
        ms_per_word=script.whole("ms_per_word", 40, 5000, 300),
        piece_ms=script.whole("piece_ms", 10, 200, 100),
        voice_gate=script.whole("voice_gate", 1, 32767, 400),
        usage=base.usage,
    )


def _turn(turn: Section, base: ScriptedTurn, source: _Source) -> ScriptedTurn:
    turn.only(TURN_KEYS)
    if "audio" in turn.value and not turn.has("audio"):
        turn.fail("audio", "names no file; write the path of a WAV file, or take this out")
    return replace(
        base,
        say=turn.text("say", ""),
        when=_when(turn.section("when")) if turn.has("when") else None,
        hears=_hears(turn),
        recording=_recording(turn, source) if turn.has("audio") else None,
        after_ms=_ms(turn, "after_ms", base.after_ms),
        pace=_pace(turn, base.pace),
        calls=tuple(_call(call) for call in turn.sections("calls")),
        usage=_usage(turn, base.usage),
        repeat=turn.flag("repeat", False),
        faults=_faults(turn.section("fault")) if turn.has("fault") else NO_FAULTS,
    )


def _ms(section: Section, key: str, default: Default) -> int | Default:
    return section.whole(key, 0, MAX_MS, default)


def _when(when: Section) -> When:
    when.only(WHEN_KEYS)
    return When(
        text=when.text("text", None),
        spoken=when.flag("spoken", None),
        image=when.flag("image", None),
        tool=when.text("tool", None),
        contains=when.text("contains", None),
        out_of_band=when.flag("out_of_band", False),
        attempt=_ms(when, "attempt", None),
    )


def _hears(turn: Section) -> Hears | None:
    if not isinstance(turn.value.get("hears"), Mapping):
        text = turn.text("hears", None)
        return None if text is None else Hears(text)
    hears = turn.section("hears")
    hears.only(("text", "after_ms", "parts", "fails"))
    return Hears(
        text=hears.text("text", ""),
        after_ms=_ms(hears, "after_ms", 0),
        parts=hears.flag("parts", False),
        fails=hears.flag("fails", False),
    )


def _call(call: Section) -> ToolCall:
    call.only(("name", "arguments"))
    call.require("name", "write the function's name")
    name, arguments = call.text("name", ""), call.value.get("arguments")
    if isinstance(arguments, str):
        return ToolCall(name, arguments)
    try:
        arguments = {} if arguments is None else arguments
        written = json.dumps(arguments, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        call.fail("arguments", "holds a number that is too large for JSON")
    return ToolCall(name, written)


def _pace(section: Section, default: float | None) -> float | None:
    value = section.value.get("pace")
    if value is None:
        return default
    if value == "fast":
        return FAST
    if value == "real":
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 1000:
        section.fail("pace", "must be fast, real, or a number of times real time, from 0.01 to 1000")
    return float(value)


def _usage(section: Section, default: TokenUsage) -> TokenUsage:
    if not section.has("usage"):
        return default
    usage = section.section("usage")
    usage.only(USAGE_KEYS)
    return TokenUsage(**{key: usage.whole(key, 0, 10**9, 0) for key in USAGE_KEYS})


def _refuse(script: Section) -> tuple[int | None, ...]:
    statuses: list[int | None] = []
    for at, status in enumerate(script.items("refuse")):
        if status is not None and (isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599):
            script.fail(f"refuse[{at}]", "must be an HTTP status from 400 to 599, or null")
        statuses.append(None if status is None else int(status))
    return tuple(statuses)


def _faults(fault: Section) -> Faults:
    fault.only(FAULT_KEYS)
    return Faults(
        drop_ms=_ms(fault, "drop", None),
        stall_ms=_ms(fault, "stall", None),
        incomplete_ms=_ms(fault, "incomplete", None),
        error=_trouble(fault.section("error")) if fault.has("error") else None,
        fail=_trouble(fault.section("fail")) if fault.has("fail") else None,
        duplicate=fault.text("duplicate", None),
        reorder=fault.text("reorder", None),
        lose=fault.text("lose", None),
        late_audio=fault.whole("late_audio", 0, 1000, 0),
        done_late_ms=_ms(fault, "done_late_ms", 0),
    )


def _trouble(trouble: Section) -> Trouble:
    trouble.only(("code", "message", "after_ms"))
    return Trouble(
        code=trouble.text("code", "server_error"),
        message=trouble.text("message", "The scripted model had an error."),
        after_ms=_ms(trouble, "after_ms", 0),
    )


def _recording(turn: Section, source: _Source) -> Recording:
    name = turn.text("audio", "")
    try:
        sound = read_sound(source.folder / name, MAX_RECORDING_BYTES)
        mono = to_mono(sound.format, sound.channels)
        _check_rate(mono.format)
    except (OSError, ValueError) as error:  # WavError is a ValueError; a name that no file can have raises one too
        turn.fail("audio", f"cannot be read: {error}")
    if not mono.payload:
        turn.fail("audio", f"{source.folder / name} is empty; record it again")
    for remark in filter(None, (sound.remark, mono.remark)):
        fields = {"script": source.name, "field": turn.path_of("audio"), "recording": name, "remark": remark}
        log.warning("a script's recording is not used as it is", extra=fields)
    recording = Recording(mono.format, mono.payload)
    _convert(recording)
    return recording


def _convert(recording: Recording) -> None:
    """Convert the recording into the formats of most calls, before a call needs them.

    The import stands here because only scripts with recordings need numpy at the start.
    """
    from gateway.models.scripted.sound import recorded

    for wanted in (PCM16_24K, PCMU_8K, PCMA_8K):
        recorded(recording, wanted)


def _check_rate(format: AudioFormat) -> None:
    """Raises ValueError for a rate that cannot be converted into the formats of calls.

    The import stands here because only scripts with recordings need numpy at the start.
    """
    from audio.resampling import Converter

    try:
        for wanted in (PCM16_24K, PCMU_8K):
            Converter(format, wanted)
    except ValueError as error:
        raise ValueError(f"{error}; save it with 24000 samples a second") from error
