"""Where settings are read from, with the place of each value kept, so that an error can name it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.agent_yaml import YamlFault, read_yaml
from gateway.env_file import EnvFileFault, read_env_file
from gateway.settings_names import (
    CALLERS_KEY,
    COMMON,
    KEYS,
    OWN_NAMES,
    PREFIX,
    FieldPath,
    env_name,
    is_bare_keys,
    misspelt,
    path_of,
    unknown,
    yaml_name,
)
from sessions.ports import Json

YAML_NAME = "patchbay.yaml"
# What editors and habit make of the names that are read.
_STRAY = {".env.txt": ".env", "patchbay.yml": YAML_NAME, "patchbay.yaml.txt": YAML_NAME}


class SourceFault(ValueError):
    """A source cannot be read."""


@dataclass(slots=True)
class Source:
    """The values of all sources in one tree, and the place where each leaf was read.

    `unknown` has a line for each name that is no setting; its value is passed over.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[FieldPath, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def lay_over(self, values: Mapping[str, object]) -> None:
        """Put arguments above what has been read."""
        for name, value in values.items():
            self.put((name,), value, name)

    def put(self, path: FieldPath, value: object, place: str) -> None:
        """Set one leaf, above what was there."""
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
        """Where a field was read; where it was not, how the environment would name it."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.places:
                return self.places[path[:size]] + "".join(f".{part}" for part in path[size:])
        for known, place in self.places.items():
            if known[: len(path)] == path:  # settings by name stand where one value was wanted
                return place
            if len(path) > 1 and known[:-1] == path[:-1] and place.endswith(dotted := ".".join(known)):
                return place.removesuffix(dotted) + ".".join(path)
        return env_name(path)


def read_sources(environ: Mapping[str, str], folder: Path, fields: Collection[str]) -> Source:
    """`patchbay.yaml`, then `.env` over it, then the environment. Raises SourceFault for a file that is unreadable."""
    source = Source()
    for stray, right in _STRAY.items():
        if (folder / stray).exists():
            source.unknown.append(f"{folder / stray}: is not read; call it {right}, or take it away")
    _read_yaml_file(folder / YAML_NAME, source, fields)
    doors = _read_env_file(folder / ".env", source, fields)
    for name in sorted(environ):
        _take(name, environ[name], name, source, fields)
    if (KEYS,) not in source.places:
        source.unknown += doors
    return source


def _read_env_file(path: Path, source: Source, fields: Collection[str]) -> list[str]:
    """Read the file. Returns what is wrong where no source names the server's keys: names that were meant for them."""
    try:
        lines = read_env_file(path)
    except EnvFileFault as fault:
        raise SourceFault(f"{path}: {fault}") from fault
    doors: list[str] = []
    first: dict[str, int] = {}
    for line in lines:
        place = f"{path}:{line.number}"
        if line.fault:
            source.unknown.append(f"{place}: {line.fault}")
            continue
        place = f"{place}: {line.name}"
        if path_of(line.name) is not None and first.setdefault(line.name, line.number) != line.number:
            source.unknown.append(f"{place}: stands here twice, first in line {first[line.name]}; take one out")
        elif line.name == CALLERS_KEY:
            doors.append(f"{place}: is read by patchbay call, from the environment; the server's is {OWN_NAMES[KEYS]}")
        elif is_bare_keys(line.name):
            doors.append(f"{place}: is no setting; did you mean {OWN_NAMES[KEYS]}?")
        else:
            _take(line.name, line.value, place, source, fields)
    return doors


def _take(name: str, value: str, place: str, source: Source, fields: Collection[str]) -> None:
    """Take over one variable, where it is ours."""
    path = path_of(name)
    if path is None:
        told = misspelt(name, value, fields)
        if told is not None:
            source.unknown.append(f"{place}: {told}")
    elif path[0] in COMMON and name.startswith(PREFIX):
        source.unknown.append(f"{place}: is called {COMMON[path[0]]}; rename it")
    elif path[0] not in fields:
        source.unknown.append(f"{place}: {unknown(path[0], fields, env_name)}")
    elif value.strip() or path == (KEYS,):
        # An empty one is as good as none: Compose files pass them on so. But empty keys would leave the door open.
        source.put(path, value.strip(), place)


def _read_yaml_file(path: Path, source: Source, fields: Collection[str]) -> None:
    try:
        document = read_yaml(read_whole(path, MAX_TEXT_BYTES).decode("utf-8-sig"))
    except FileNotFoundError as error:
        if path.is_symlink():
            raise SourceFault(f"{path}: is a link that leads nowhere; mend it, or take it away") from error
        return
    except YamlFault as fault:
        raise SourceFault(f"{path}:{fault.line}: {f'{fault.field}: ' if fault.field else ''}{fault.message}") from fault
    except UnicodeDecodeError as error:
        raise SourceFault(f"{path}: is not UTF-8 text; save it as such") from error
    except OSError as error:
        raise SourceFault(f"{path}: cannot be read: {error.strerror}") from error
    if document.value is None:
        return
    if not isinstance(document.value, Mapping):
        raise SourceFault(f"{path}:{document.line_of('')}: must hold settings, such as `port: 8080`")
    for name, below in document.value.items():
        if name not in fields:
            line = document.line_of(name)
            source.unknown.append(f"{path}:{line}: {name}: {unknown(name, fields, yaml_name)}")
            continue
        for leaf, value in _leaves((name,), below):
            field_name = ".".join(leaf)
            source.put(leaf, value, f"{path}:{document.line_of(field_name)}: {field_name}")


def _leaves(path: FieldPath, value: Json) -> Iterable[tuple[FieldPath, Json]]:
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _leaves((*path, name), below)
    else:
        yield path, value


def explain(errors: Iterable[Any], source: Source) -> list[str]:
    """Pydantic's errors as lines of `PLACE: WHAT TO DO`. No values: they may be secrets."""
    return [line for error in errors for line in _lines(error, source)]


def _lines(error: Any, source: Source) -> list[str]:
    # Places inside a list, and of a union's branches, say nothing to who wrote the setting.
    path = tuple(part for part in error["loc"] if isinstance(part, str) and part == part.lower() and "[" not in part)
    message = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            message = "there is no such setting; take it out"
        case "missing":
            message = "is missing; set it too"
        case "too_short" | "string_too_short":  # of a secret, pydantic would count items
            least = error["ctx"]["min_length"]
            message = "must not be empty" if least == 1 else f"must have at least {least} characters"
        case "model_type":
            message = "must hold settings by name; docs/settings.md lists them"
        case _ if message.startswith("Input should be "):
            message = "must be " + message.removeprefix("Input should be ")
    if path == ("port",) and source.place(path) == "PATCHBAY_PORT":
        message += "; where Kubernetes has set it (tcp://...), put enableServiceLinks: false into the pod"
    if path:
        return [f"{source.place(path)}: {message}"]
    # About several fields, the first of which is named in front of each line.
    found = [line.partition(": ") for line in message.splitlines()]
    return [f"{source.place((first,))}: {rest}" for first, _, rest in found]
