"""The names of settings, as the environment and the files write them, and what a name that is none was meant to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import TypeAlias

PREFIX = "PATCHBAY_"
KEYS = "api_keys"  # the setting that closes the door
# Names that others have made common; everything else is PATCHBAY_ and the field's name.
COMMON = {
    name.lower(): name
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")
}
_TO_COME = frozenset({"carriers"})
# What `patchbay call` reads, on a machine that may serve too.
CALLERS_KEY = "PATCHBAY_API_KEY"
_CALLERS_OWN = frozenset({"PATCHBAY_URL", CALLERS_KEY})

# What Kubernetes puts into every container beside a service called patchbay.
_KUBERNETES = re.compile(r"PATCHBAY(_\w+)?_SERVICE_(HOST|PORT\w*)|PATCHBAY(_\w+)?_PORT_\d+_(TCP|UDP)\w*")
_LINK = re.compile(r"(tcp|udp)://")  # and beside a service whose name is nearly that, or ends so
_ANOTHERS = re.compile(r"[A-Za-z0-9]_PATCHBAY_")  # STAGING_PATCHBAY_API_KEYS is meant to be none of ours
_SIGNS = re.compile(r"[^a-z0-9]+")
_CUTOFF = 0.85  # two letters wrong in the shortest name, three in PATCHBAY_API_KEYS

FieldPath: TypeAlias = tuple[str, ...]  # of a field: its name, and those of the fields in it


class _OwnNames(dict[str, str]):
    """The environment's name for a field."""

    def __missing__(self, name: str) -> str:
        return PREFIX + name.upper()


OWN_NAMES: Mapping[str, str] = _OwnNames(COMMON)


def path_of(name: str) -> FieldPath | None:
    """The field that a name of the environment stands for, existing or not; None where it is none of ours."""
    if name.startswith(PREFIX) and name not in _CALLERS_OWN and not _KUBERNETES.fullmatch(name):
        return tuple(name.removeprefix(PREFIX).lower().split("__"))
    return (name.lower(),) if name in COMMON.values() else None


def env_name(path: FieldPath) -> str:
    """A field as the environment writes it."""
    return "__".join([OWN_NAMES[path[0]], *(part.upper() for part in path[1:])])


def yaml_name(path: FieldPath) -> str:
    """A field as `patchbay.yaml` writes it."""
    return ".".join(path)


def unknown(name: str, fields: Collection[str], written: Callable[[FieldPath], str]) -> str:
    """What to say of a field that there is not."""
    if name in _TO_COME:
        return "is not supported yet; take it out"
    near = get_close_matches(name, fields, 1)
    hint = f"did you mean {written((near[0],))}?" if near else "take it out; docs/settings.md lists all settings"
    return f"there is no such setting; {hint}"


def misspelt(name: str, value: str, fields: Collection[str]) -> str | None:
    """What to say of a name that `path_of` does not take for ours, though it was meant to be; None for all others.

    Such a name is written in small letters or with other signs, or is wrong within PATCHBAY.
    """
    if name in _CALLERS_OWN or _KUBERNETES.fullmatch(name) or _ANOTHERS.search(name) or _LINK.match(value):
        return None
    ours = {_letters(own): own for own in (*_CALLERS_OWN, *(OWN_NAMES[field] for field in fields - COMMON.keys()))}
    found = _letters(name)
    begins = found.startswith(_letters(PREFIX)) and found != _letters(PREFIX)
    near = get_close_matches(found, ours, 1, 0.6 if begins else _CUTOFF)
    if not begins and not near:
        return None
    hint = f"did you mean {ours[near[0]]}?" if near else "docs/settings.md lists all settings"
    return f"there is no such setting; {hint} (a name is written in capitals, with _ between its words)"


def is_bare_keys(name: str) -> bool:
    """Whether this is the name of the keys' setting without PATCHBAY_."""
    return _letters(name) == _letters(KEYS)


def _letters(name: str) -> str:
    return _SIGNS.sub("", name.casefold())
