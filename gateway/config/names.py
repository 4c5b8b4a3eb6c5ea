"""The names of settings in the environment and in files, and suggestions for names that are misspelt."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import TypeAlias

from gateway.config.destinations import NAMES as DESTINATION_NAMES

PREFIX = "PATCHBAY_"
# The setting without which the server asks callers for no key.
KEYS = "api_keys"
# Names that other programs use too. The name of every other setting is PATCHBAY_ and the field's name.
COMMON = {
    name.lower(): name
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")
}
# The setting that holds the standard names of telemetry's destinations, each under its own name in small letters.
DESTINATIONS = "destinations"
# The setting whose keys are telephone numbers.
NUMBERS = "numbers"
# A number with fewer digits is an extension.
_PHONE_DIGITS = 7
# `patchbay call` reads these names, possibly on a machine that runs the server too.
CALLERS_KEY = "PATCHBAY_API_KEY"
_CALLERS_OWN = frozenset({"PATCHBAY_URL", CALLERS_KEY})

# Kubernetes sets these names in every container beside a service called patchbay.
_KUBERNETES = re.compile(r"PATCHBAY(_\w+)?_SERVICE_(HOST|PORT\w*)|PATCHBAY(_\w+)?_PORT_\d+_(TCP|UDP)\w*")
# It sets values like these beside a service whose name is similar to patchbay, or ends with it.
_LINK = re.compile(r"(tcp|udp)://")
# A name such as STAGING_PATCHBAY_API_KEYS belongs to another program.
_ANOTHERS = re.compile(r"[A-Za-z0-9]_PATCHBAY_")
_SIGNS = re.compile(r"[^a-z0-9]+")
# This similarity allows two wrong letters in the shortest name, and three in PATCHBAY_API_KEYS.
_CUTOFF = 0.85

# The name of a field, and the names of the fields inside it.
FieldPath: TypeAlias = tuple[str, ...]


class _OwnNames(dict[str, str]):
    """Gives the environment's name of a field."""

    def __missing__(self, name: str) -> str:
        return PREFIX + name.upper()


OWN_NAMES: Mapping[str, str] = _OwnNames(COMMON)


def path_of(name: str) -> FieldPath | None:
    """The field that a name of the environment means, whether it exists or not; None for names of other programs."""
    if name.startswith(PREFIX) and name not in _CALLERS_OWN and not _KUBERNETES.fullmatch(name):
        return tuple(name.removeprefix(PREFIX).lower().split("__"))
    if name.isupper() and name.lower() in DESTINATION_NAMES:
        return (DESTINATIONS, name.lower())
    return (name.lower(),) if name in COMMON.values() else None


def env_name(path: FieldPath) -> str:
    """The name of a field in the environment."""
    if path[0] == DESTINATIONS and path[1:]:
        return path[1].upper()
    return "__".join([OWN_NAMES[path[0]], *(part.upper() for part in path[1:])])


def yaml_name(path: FieldPath) -> str:
    """The name of a field in `patchbay.yaml`."""
    return ".".join(path)


def shown(path: FieldPath) -> FieldPath:
    """The path as messages may show it: with only the last two digits of a telephone number."""
    if path[0] != NUMBERS or len(path) == 1 or sum(map(str.isdigit, path[1])) < _PHONE_DIGITS:
        return path
    return (path[0], f"…{path[1][-2:]}", *path[2:])


def shown_in_file(field: str) -> str:
    """A field's name in `patchbay.yaml`, as messages may show it, like `shown`."""
    name, dot, rest = field.partition(".")
    if name != NUMBERS or not dot:
        return field
    suffix = next((each for each in (".agent", ".language") if rest.endswith(each)), "")
    return yaml_name(shown((NUMBERS, rest.removesuffix(suffix)))) + suffix


def unknown(name: str, fields: Collection[str], written: Callable[[FieldPath], str]) -> str:
    """The message for a field that does not exist; `written` gives the name in the source where it was found."""
    near = get_close_matches(name, fields, 1)
    hint = f"did you mean {written((near[0],))}?" if near else "take it out; docs/settings.md lists all settings"
    return f"there is no such setting; {hint}"


def misspelt(name: str, value: str, fields: Collection[str]) -> str | None:
    """The message for a name that is probably a misspelt setting although `path_of` returns None for it; else None.

    Such a name has small letters, other signs between its words, or a mistake in the word PATCHBAY itself.
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
    """Whether a name is that of the API keys, but without PATCHBAY_."""
    return _letters(name) == _letters(KEYS)


def _letters(name: str) -> str:
    return _SIGNS.sub("", name.casefold())
