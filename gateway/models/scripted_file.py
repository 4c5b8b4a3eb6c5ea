"""Reads a script for the scripted model from YAML; `docs/scripted-model.md` describes it, `scripted.py` in brief.

An error names the file, the line and the field.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from yaml import SafeLoader, ScalarNode
from yaml.constructor import SafeConstructor

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.mono import to_mono
from audio.wav import read_sound
from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.agent_yaml import LOADER, MAX_DIGITS, Scalar, YamlDocument, YamlFault, read_yaml
from gateway.models.scripted_shape import (
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
from gateway.yielding import let_others_run
from sessions.text import well_formed
from sessions.usage import TokenUsage

log = logging.getLogger(__name__)

MAX_MS = 600_000
MAX_RECORDING_BYTES = 1 << 24  # nearly six minutes of PCM16 at 24 kHz
_CONSTRUCTOR = SafeConstructor()
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Read = TypeVar("Read")


class ScriptError(ValueError):
    """A script cannot be used; the message names the file, the line and the field."""

    def __init__(self, name: str, line: int, field: str, problem: str) -> None:
        super().__init__(f"{name}, line {line}: {field}: {problem}" if field else f"{name}, line {line}: {problem}")
        self.line = line
        self.field = field


def load_script(path: Path) -> Script:
    """Read a script and the recordings it names. Raises ScriptError, or OSError where the file cannot be read."""
    content = read_whole(path, MAX_TEXT_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptError(str(path), content.count(b"\n", 0, error.start) + 1, "", "is not UTF-8 text") from error
    return read_script(text, str(path), path.parent)


def read_script(text: str, name: str, folder: Path) -> Script:
    """Read a script's text. `name` is for errors, `folder` is where its recordings lie. Raises ScriptError."""
    try:
        # JSON may write an emoji as two escapes, each half a sign. libyaml refuses those, PyYAML's own parser does not.
        document = read_yaml(text, _scalar, SafeLoader if _SURROGATE.search(text) else LOADER)
    except YamlFault as fault:
        raise ScriptError(name, fault.line, fault.field, fault.message) from fault
    value = cast("Value", document.value)
    return _script(_Source(name, folder, document), value if document.lines else {}, Path(name).stem)  # without: empty


def _scalar(scalar: Scalar) -> str | int | float | bool | None:
    """A value by YAML 1.1, but for dates, which stay text. Raises ValueError."""
    text = scalar.text
    if scalar.tag == "null":
        return None
    if scalar.tag == "bool" and text.lower() in SafeConstructor.bool_values:
        return SafeConstructor.bool_values[text.lower()]
    if scalar.tag not in ("bool", "int", "float", "timestamp"):
        return text
    try:
        if scalar.tag == "bool" or len(text) > MAX_DIGITS:
            raise ValueError
        node = ScalarNode(scalar.tag, text)
        if scalar.tag == "timestamp":
            _CONSTRUCTOR.construct_yaml_timestamp(node)  # only a day that there is
            return text
        return _CONSTRUCTOR.construct_yaml_int(node) if scalar.tag == "int" else _CONSTRUCTOR.construct_yaml_float(node)
    except (ValueError, IndexError, OverflowError, AttributeError) as error:  # PyYAML's, each for texts of some kind
        raise ValueError("is not a plain value") from error


class _Source:
    """The file being read: where each field stands, for the errors."""

    def __init__(self, name: str, folder: Path, document: YamlDocument) -> None:
        self.name = name
        self.folder = folder
        self._document = document

    def error(self, path: str, problem: str) -> ScriptError:
        """An error about a field."""
        return ScriptError(self.name, self._document.line_of(path), path, problem)

    def table(self, value: Value, path: str, allowed: frozenset[str]) -> dict[str, Value]:
        """A mapping with no other keys than those allowed."""
        if not isinstance(value, dict):
            raise self.error(path, "must be a mapping")
        for key in value:
            if key not in allowed:
                raise self.error(
                    f"{path}.{key}" if path else key, "is not known here; known are " + ", ".join(sorted(allowed))
                )
        return value

    def rows(self, value: Value, path: str) -> list[Value]:
        """A list."""
        if not isinstance(value, list):
            raise self.error(path, "must be a list")
        return value

    def text(self, value: Value, path: str) -> str:
        """A string; numbers are taken as they are written."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(path, "must be a text")
        return well_formed(value) if isinstance(value, str) else self._document.written[path]

    def flag(self, value: Value, path: str) -> bool:
        """A boolean."""
        if not isinstance(value, bool):
            raise self.error(path, "must be true or false")
        return value

    def whole(self, value: Value, path: str, low: int = 0, high: int = MAX_MS) -> int:
        """An integer between two bounds."""
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(path, f"must be a whole number from {low} to {high}")
        return value

    def optional(
        self, table: Mapping[str, Value], key: str, path: str, read: Callable[[Value, str], Read], default: Read
    ) -> Read:
        """What stands under a key, or a default where nothing does."""
        if table.get(key) is None:
            return default
        return read(table[key], f"{path}.{key}" if path else key)


SCRIPT_KEYS = frozenset(
    {"model", "turns", "otherwise", "refuse", "pace", "after_ms", "ms_per_word", "piece_ms", "voice_gate", "usage"}
)
TURN_KEYS = frozenset({"when", "hears", "say", "audio", "after_ms", "pace", "calls", "usage", "repeat", "fault"})
WHEN_KEYS = frozenset(field.name for field in fields_of(When))
USAGE_KEYS = frozenset(field.name for field in fields_of(TokenUsage))
FAULT_KEYS = frozenset(
    {"drop", "stall", "incomplete", "error", "fail", "duplicate", "reorder", "lose", "late_audio", "done_late_ms"}
)


def _script(source: _Source, value: Value, default_name: str) -> Script:
    table = source.table(value, "", SCRIPT_KEYS)
    usage = source.optional(table, "usage", "", lambda v, p: _usage(source, v, p), TokenUsage())
    base = ScriptedTurn(
        say="",
        when=None,
        hears=None,
        recording=None,
        after_ms=source.optional(table, "after_ms", "", source.whole, 0),
        pace=source.optional(table, "pace", "", lambda v, p: _pace(source, v, p), FAST),
        calls=(),
        usage=usage,
        repeat=False,
        faults=NO_FAULTS,
    )
    none: list[Value] = []
    turns = []
    for at, turn in enumerate(source.optional(table, "turns", "", source.rows, none)):
        let_others_run(at)
        turns.append(_turn(source, turn, f"turns[{at}]", base))
    return Script(
        model=source.optional(table, "model", "", source.text, default_name),
        turns=tuple(turns),
        otherwise=source.optional(table, "otherwise", "", lambda v, p: _turn(source, v, p, base), base),
        refuse=source.optional(table, "refuse", "", lambda v, p: _refuse(source, v, p), ()),
        ms_per_word=source.optional(table, "ms_per_word", "", lambda v, p: source.whole(v, p, 40, 5000), 300),
        piece_ms=source.optional(table, "piece_ms", "", lambda v, p: source.whole(v, p, 10, 200), 100),
        voice_gate=source.optional(table, "voice_gate", "", lambda v, p: source.whole(v, p, 1, 32767), 400),
        usage=usage,
    )


def _turn(source: _Source, value: Value, path: str, base: ScriptedTurn) -> ScriptedTurn:
    table = source.table(value, path, TURN_KEYS)
    if "audio" in table and table["audio"] is None:
        raise source.error(f"{path}.audio", "names no file; write the path of a WAV file, or take this out")
    none: list[Value] = []
    calls = source.optional(table, "calls", path, source.rows, none)
    return replace(
        base,
        say=source.optional(table, "say", path, source.text, ""),
        when=source.optional(table, "when", path, lambda v, p: _when(source, v, p), None),
        hears=source.optional(table, "hears", path, lambda v, p: _hears(source, v, p), None),
        recording=source.optional(table, "audio", path, lambda v, p: _recording(source, v, p), None),
        after_ms=source.optional(table, "after_ms", path, source.whole, base.after_ms),
        pace=source.optional(table, "pace", path, lambda v, p: _pace(source, v, p), base.pace),
        calls=tuple(_call(source, call, f"{path}.calls[{at}]") for at, call in enumerate(calls)),
        usage=source.optional(table, "usage", path, lambda v, p: _usage(source, v, p), base.usage),
        repeat=source.optional(table, "repeat", path, source.flag, False),
        faults=source.optional(table, "fault", path, lambda v, p: _faults(source, v, p), NO_FAULTS),
    )


def _when(source: _Source, value: Value, path: str) -> When:
    table = source.table(value, path, WHEN_KEYS)
    return When(
        text=source.optional(table, "text", path, source.text, None),
        spoken=source.optional(table, "spoken", path, source.flag, None),
        image=source.optional(table, "image", path, source.flag, None),
        tool=source.optional(table, "tool", path, source.text, None),
        contains=source.optional(table, "contains", path, source.text, None),
        out_of_band=source.optional(table, "out_of_band", path, source.flag, False),
        attempt=source.optional(table, "attempt", path, source.whole, None),
    )


def _hears(source: _Source, value: Value, path: str) -> Hears:
    if not isinstance(value, dict):
        return Hears(source.text(value, path))
    table = source.table(value, path, frozenset({"text", "after_ms", "parts", "fails"}))
    return Hears(
        text=source.optional(table, "text", path, source.text, ""),
        after_ms=source.optional(table, "after_ms", path, source.whole, 0),
        parts=source.optional(table, "parts", path, source.flag, False),
        fails=source.optional(table, "fails", path, source.flag, False),
    )


def _call(source: _Source, value: Value, path: str) -> ToolCall:
    table = source.table(value, path, frozenset({"name", "arguments"}))
    if "name" not in table:
        raise source.error(f"{path}.name", "is missing")
    arguments, here = table.get("arguments"), f"{path}.arguments"
    if isinstance(arguments, str):
        return ToolCall(source.text(table["name"], f"{path}.name"), source.text(arguments, here))
    none: Value = {}
    try:
        written = json.dumps(
            none if arguments is None else arguments, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
    except ValueError as error:
        raise source.error(here, "holds a number that JSON does not have: .nan or .inf") from error
    return ToolCall(source.text(table["name"], f"{path}.name"), well_formed(written))


def _pace(source: _Source, value: Value, path: str) -> float | None:
    if value == "fast":
        return FAST
    if value == "real":
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 1000:
        raise source.error(path, "must be fast, real, or how many times real time")
    return float(value)


def _usage(source: _Source, value: Value, path: str) -> TokenUsage:
    table = source.table(value, path, USAGE_KEYS)
    return TokenUsage(**{key: source.whole(count, f"{path}.{key}", 0, 10**9) for key, count in table.items()})


def _refuse(source: _Source, value: Value, path: str) -> tuple[int | None, ...]:
    def status(entry: Value, here: str) -> int | None:
        return None if entry is None else source.whole(entry, here, 400, 599)

    return tuple(status(entry, f"{path}[{at}]") for at, entry in enumerate(source.rows(value, path)))


def _faults(source: _Source, value: Value, path: str) -> Faults:
    table = source.table(value, path, FAULT_KEYS)
    return Faults(
        drop_ms=source.optional(table, "drop", path, source.whole, None),
        stall_ms=source.optional(table, "stall", path, source.whole, None),
        incomplete_ms=source.optional(table, "incomplete", path, source.whole, None),
        error=source.optional(table, "error", path, lambda v, p: _trouble(source, v, p), None),
        fail=source.optional(table, "fail", path, lambda v, p: _trouble(source, v, p), None),
        duplicate=source.optional(table, "duplicate", path, source.text, None),
        reorder=source.optional(table, "reorder", path, source.text, None),
        lose=source.optional(table, "lose", path, source.text, None),
        late_audio=source.optional(table, "late_audio", path, lambda v, p: source.whole(v, p, 0, 1000), 0),
        done_late_ms=source.optional(table, "done_late_ms", path, source.whole, 0),
    )


def _trouble(source: _Source, value: Value, path: str) -> Trouble:
    table = source.table(value, path, frozenset({"code", "message", "after_ms"}))
    return Trouble(
        code=source.optional(table, "code", path, source.text, "server_error"),
        message=source.optional(table, "message", path, source.text, "The scripted model had an error."),
        after_ms=source.optional(table, "after_ms", path, source.whole, 0),
    )


def _recording(source: _Source, value: Value, path: str) -> Recording:
    name = source.text(value, path)
    try:
        sound = read_sound(source.folder / name, MAX_RECORDING_BYTES)
        mono = to_mono(sound.format, sound.channels)
        _check_rate(mono.format)
    except (OSError, ValueError) as error:  # WavError is one; so is a name that no file can have
        raise source.error(path, f"cannot be read: {error}") from error
    if not mono.payload:
        raise source.error(path, f"{source.folder / name} is empty; record it again")
    for remark in filter(None, (sound.remark, mono.remark)):
        told = {"script": source.name, "field": path, "recording": name, "remark": remark}
        log.warning("a script's recording is not used as it is", extra=told)
    recording = Recording(mono.format, mono.payload)
    _convert(recording)
    return recording


def _convert(recording: Recording) -> None:
    """Into what most calls use, while no call waits for it. Imported here as below."""
    from gateway.models.scripted_sound import recorded

    for wanted in (PCM16_24K, PCMU_8K, PCMA_8K):
        recorded(recording, wanted)


def _check_rate(format: AudioFormat) -> None:
    """Raises ValueError for a rate that a call cannot be given. Imported here: only recordings need numpy so early."""
    from audio.resampling import Converter

    try:
        for wanted in (PCM16_24K, PCMU_8K):
            Converter(format, wanted)
    except ValueError as error:
        raise ValueError(f"{error}; save it with 24000 samples a second") from error
