"""Reads settings from their sources and keeps the place of each value, so that an error can name it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config.env_file import EnvFileFault, read_env_file
from gateway.config.names import (
    CALLERS_KEY,
    COMMON,
    DESTINATIONS,
    KEYS,
    OWN_NAMES,
    PREFIX,
    FieldPath,
    env_name,
    is_bare_keys,
    misspelt,
    path_of,
    shown,
    unknown,
    yaml_name,
)
from gateway.config.section import as_written, plain
from gateway.config.value_file import FileProblem, decoded, read_file_if_there, yaml_file
from sessions.ports import Json

YAML_NAME = "patchbay.yaml"
# Names that editors and people often write instead of the right one.
_STRAY = {".env.txt": ".env", "patchbay.yml": YAML_NAME, "patchbay.yaml.txt": YAML_NAME}


class SourceFault(FileProblem):
    """A source of settings cannot be read."""


@dataclass(slots=True)
class Source:
    """The values of all sources in one tree, and the place where each value was read.

    `unknown` has a line for each name that is no setting; its value is ignored.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[FieldPath, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def lay_over(self, values: Mapping[str, object]) -> None:
        """Put arguments over the values that were read."""
        for name, value in values.items():
            self.put((name,), value, name)

    def put(self, path: FieldPath, value: object, place: str) -> None:
        """Set the value at a path, over any value that was there."""
        holder = self.values
        for part in path[:-1]:
            below = holder.get(part)
            if not isinstance(below, dict):
                below = holder[part] = {}
            holder = below
        for old in [known for known in self.places if known[: len(path)] == path]:
            del self.places[old]
        holder[path[-1]] = value
        self.places[path] = place

    def place(self, path: FieldPath) -> str:
        """The place where a field was read; for one that was not read, its name in the environment."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.places:
                return self.places[path[:size]] + "".join(f".{part}" for part in shown(path)[size:])
        for known, place in self.places.items():
            if known[: len(path)] == path:  # the file has a mapping where one value is expected
                return place
            if len(path) > 1 and known[:-1] == path[:-1] and place.endswith(dotted := yaml_name(shown(known))):
                return place.removesuffix(dotted) + yaml_name(shown(path))
        return env_name(shown(path))

    def has(self, path: FieldPath) -> bool:
        """Whether a value was read at this path, or at one inside it."""
        return any(known[: len(path)] == path for known in self.places)


def read_sources(environ: Mapping[str, str], folder: Path, fields: Collection[str]) -> Source:
    """Read `patchbay.yaml`, then `.env` over it, then the environment. Raises SourceFault for an unreadable file."""
    source = Source()
    for stray, right in _STRAY.items():
        if (folder / stray).exists():
            source.unknown.append(f"{folder / stray}: is not read; rename it to {right}, or remove it")
    _read_yaml_file(folder / YAML_NAME, source, fields)
    key_mistakes = _read_env_file(folder / ".env", source, fields)
    for name in sorted(environ):
        _take(name, environ[name], _shown_name(name), source, fields)
    if (KEYS,) not in source.places:
        source.unknown += key_mistakes
    return source


def _read_env_file(path: Path, source: Source, fields: Collection[str]) -> list[str]:
    """Read the file. Returns messages about names that were probably meant for the API keys.

    They count only where no source sets the keys.
    """
    try:
        lines = read_env_file(path)
    except EnvFileFault as fault:
        raise SourceFault(path, 0, "", str(fault)) from fault
    key_mistakes: list[str] = []
    first: dict[str, int] = {}
    for line in lines:
        place = f"{path}:{line.number}"
        if line.fault:
            source.unknown.append(f"{place}: {line.fault}")
            continue
        place = f"{place}: {_shown_name(line.name)}"
        if path_of(line.name) is not None and first.setdefault(line.name, line.number) != line.number:
            source.unknown.append(f"{place}: stands here twice, first in line {first[line.name]}; remove one")
        elif line.name == CALLERS_KEY:
            key_mistakes.append(
                f"{place}: is read by patchbay call, from the environment; the server reads {OWN_NAMES[KEYS]}"
            )
        elif is_bare_keys(line.name):
            key_mistakes.append(f"{place}: is no setting; did you mean {OWN_NAMES[KEYS]}?")
        else:
            _take(line.name, line.value, place, source, fields)
    return key_mistakes


def _shown_name(name: str) -> str:
    path = path_of(name)
    return name if path is None or shown(path) == path else env_name(shown(path))


def _take(name: str, value: str, place: str, source: Source, fields: Collection[str]) -> None:
    """Read one variable, if its name is a setting's."""
    path = path_of(name)
    if path is None:
        message = misspelt(name, value, fields)
        if message is not None:
            source.unknown.append(f"{place}: {message}")
    elif path[0] in COMMON and name.startswith(PREFIX):
        source.unknown.append(f"{place}: is called {COMMON[path[0]]} here; rename it")
    elif path[0] not in fields:
        source.unknown.append(f"{place}: {unknown(path[0], fields, env_name)}")
    elif value.strip() or path == (KEYS,):
        # An empty variable counts as unset, since Compose files pass unset ones on as empty. Empty API keys do not:
        # the server would be open to everyone.
        source.put(path, value.strip(), place)


def _read_yaml_file(path: Path, source: Source, fields: Collection[str]) -> None:
    raw = read_file_if_there(path, SourceFault)
    if raw is None:
        if path.is_symlink():
            raise SourceFault(path, 0, "", "is a link that leads nowhere; repair it, or remove it")
        return
    file = yaml_file(decoded(raw, path, SourceFault), path, SourceFault)
    if file.value is None:
        return
    if not isinstance(file.value, Mapping):
        raise SourceFault(path, file.line_of(""), "", "must hold settings, such as `port: 8080`")
    for name, below in file.value.items():
        if name not in fields:
            line = file.line_of(name)
            source.unknown.append(f"{path}:{line}: {name}: {unknown(name, fields, yaml_name)}")
            continue
        for leaf, value in _leaves((name,), below):
            line = file.line_of(yaml_name(leaf))
            # These names are variables of other programs, whose values are texts.
            read = as_written(value) if name == DESTINATIONS else plain(value)
            source.put(leaf, read, f"{path}:{line}: {yaml_name(shown(leaf))}")


def _leaves(path: FieldPath, value: Json) -> Iterable[tuple[FieldPath, Json]]:
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _leaves((*path, name), below)
    else:
        yield path, value


def explain(errors: Iterable[Any], source: Source) -> list[str]:
    """Pydantic's errors as lines of `PLACE: WHAT TO DO`, without the values, which may be secrets."""
    return [line for error in errors for line in _lines(error, source)]


def _lines(error: Any, source: Source) -> list[str]:
    path = _field_of(error["loc"], source)
    message = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            message = "there is no such setting; take it out"
        case "missing":
            message = "is missing; set it too"
        case "too_short" | "string_too_short":  # pydantic's own message about a secret speaks of items
            least = error["ctx"]["min_length"]
            message = "must not be empty" if least == 1 else f"must have at least {least} characters"
        case "model_type" | "dict_type":
            message = "must hold settings by name; docs/settings.md lists them"
        case _ if message.startswith("Input should be "):
            message = "must be " + message.removeprefix("Input should be ")
    # Kubernetes sets these two for services called patchbay and patchbay-audiosocket.
    if path in (("port",), ("audiosocket_port",)) and source.place(path) == env_name(path):
        message += "; if Kubernetes has set it (tcp://...), put enableServiceLinks: false into the pod"
    if path:
        return [f"{source.place(path)}: {message}"]
    # The error is about several fields; each line of it begins with the name of one.
    found = [line.partition(": ") for line in message.splitlines()]
    return [f"{source.place(tuple(first.split('.')))}: {rest}" for first, _, rest in found]


def _field_of(loc: Iterable[Any], source: Source) -> FieldPath:
    """The path of a field as a person wrote it: without an index in a list, and the name of a union's branch."""
    path: FieldPath = ()
    for part in loc:
        if isinstance(part, str) and ((part == part.lower() and "[" not in part) or source.has((*path, part))):
            path = (*path, part)
    return path
