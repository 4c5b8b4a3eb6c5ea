"""Where settings are read from, with the place of each value kept, so that an error can name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from gateway.agent_yaml import YamlFault, read_yaml
from sessions.ports import Json

PREFIX = "PATCHBAY_"
YAML_NAME = "patchbay.yaml"
# Names that others have made common; everything else is PATCHBAY_ and the field's name.
_COMMON = {
    name.lower(): name
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")
}
_TO_COME = frozenset({"carriers"})
# What `patchbay call` reads, on a machine that may serve too.
_CALLERS_OWN = frozenset({"PATCHBAY_URL", "PATCHBAY_API_KEY"})

# What Kubernetes puts into every container beside a service called patchbay.
_KUBERNETES = re.compile(r"PATCHBAY(_\w+)?_SERVICE_(HOST|PORT\w*)|PATCHBAY(_\w+)?_PORT_\d+_(TCP|UDP)\w*")

Path_ = tuple[str, ...]  # of a field: its name, and those of the fields in it


class _OwnNames(dict[str, str]):
    """The environment's name for a field."""

    def __missing__(self, name: str) -> str:
        return PREFIX + name.upper()


OWN_NAMES: Mapping[str, str] = _OwnNames(_COMMON)


class SourceFault(ValueError):
    """A source cannot be read."""


@dataclass(slots=True)
class Source:
    """The values of all sources in one tree, and the place where each leaf was read.

    `unknown` has a line for each name that is no setting; its value is passed over.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path_, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def lay_over(self, values: Mapping[str, object]) -> None:
        """Put arguments above what has been read."""
        for name, value in values.items():
            self.put((name,), value, name)

    def put(self, path: Path_, value: object, place: str) -> None:
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

    def place(self, path: Path_) -> str:
        """Where a field was read; where it was not, how the environment would name it."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.places:
                return self.places[path[:size]] + "".join(f".{part}" for part in path[size:])
        for known, place in self.places.items():
            if len(path) > 1 and known[:-1] == path[:-1] and place.endswith(dotted := ".".join(known)):
                return place.removesuffix(dotted) + ".".join(path)
        return _env_name(path)


def read_sources(environ: Mapping[str, str], folder: Path, fields: Collection[str]) -> Source:
    """`patchbay.yaml`, then `.env` over it, then the environment. Raises SourceFault for a file that is unreadable."""
    source = Source()
    _read_yaml_file(folder / YAML_NAME, source, fields)
    env_file = folder / ".env"
    if env_file.is_file():
        try:
            # Not interpolated: a secret may hold ${.
            found = dotenv_values(env_file, interpolate=False, encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SourceFault(f"{env_file}: is not UTF-8 text; save it as such") from error
        except OSError as error:
            raise SourceFault(f"{env_file}: cannot be read: {error.strerror}") from error
        _read_names({k: v for k, v in found.items() if v is not None}, f"{env_file}: ", source, fields)
    _read_names(environ, "", source, fields)
    return source


def _read_names(environ: Mapping[str, str], where: str, source: Source, fields: Collection[str]) -> None:
    for name in sorted(environ):
        path = _path_of(name)
        if path is None:
            continue
        if path[0] in _COMMON and name.startswith(PREFIX):
            source.unknown.append(f"{where}{name}: is called {_COMMON[path[0]]}; rename it")
        elif path[0] not in fields:
            source.unknown.append(f"{where}{name}: {_unknown(path[0], fields, _env_name)}")
        elif environ[name].strip():  # an empty one is as good as none: Compose files pass them on so
            source.put(path, environ[name].strip(), f"{where}{name}")


def _path_of(name: str) -> Path_ | None:
    if name.startswith(PREFIX) and name not in _CALLERS_OWN and not _KUBERNETES.fullmatch(name):
        return tuple(name.removeprefix(PREFIX).lower().split("__"))
    return (name.lower(),) if name in _COMMON.values() else None


def _env_name(path: Path_) -> str:
    return "__".join([OWN_NAMES[path[0]], *(part.upper() for part in path[1:])])


def _yaml_name(path: Path_) -> str:
    return ".".join(path)


def _unknown(name: str, fields: Collection[str], written: Callable[[Path_], str]) -> str:
    if name in _TO_COME:
        return "is not supported yet; take it out"
    near = get_close_matches(name, fields, 1)
    hint = f"did you mean {written((near[0],))}?" if near else "take it out; docs/settings.md lists all settings"
    return f"there is no such setting; {hint}"


def _read_yaml_file(path: Path, source: Source, fields: Collection[str]) -> None:
    try:
        document = read_yaml(path.read_text("utf-8-sig"))
    except FileNotFoundError:
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
            source.unknown.append(f"{path}:{line}: {name}: {_unknown(name, fields, _yaml_name)}")
            continue
        for leaf, value in _leaves((name,), below):
            field_name = ".".join(leaf)
            source.put(leaf, value, f"{path}:{document.line_of(field_name)}: {field_name}")


def _leaves(path: Path_, value: Json) -> Iterable[tuple[Path_, Json]]:
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
