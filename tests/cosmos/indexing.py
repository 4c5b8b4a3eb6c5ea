"""What an indexing policy covers: single properties, and pairs for an ORDER BY of two.

Source: learn.microsoft.com/azure/cosmos-db/index-policy. `id` and `_ts` are always indexed. The longest matching path
decides between what is included and what is excluded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Order = tuple[str, bool]  # a path such as `owner/boot`, and whether it descends

ALWAYS = ("id", "_ts")
DEFAULT: dict[str, Any] = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [{"path": "/*"}],
    "excludedPaths": [{"path": '/"_etag"/?'}],
}


class IndexPolicy:
    """The policy of one container."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self._included = [entry["path"] for entry in policy.get("includedPaths", ())]
        self._excluded = [entry["path"] for entry in policy.get("excludedPaths", ())]
        self._composites = [
            [(part["path"].strip("/"), part.get("order", "ascending") == "descending") for part in parts]
            for parts in policy.get("compositeIndexes", ())
        ]
        self._none = policy.get("indexingMode", "consistent").lower() == "none"
        # The values that a write must index are looked up, not searched, where each included path names one property.
        self._exact = [path[1:-2] for path in self._included if path.endswith("/?")]
        self._wide = any(path.endswith("*") for path in self._included)

    def covers(self, path: str) -> bool:
        """Whether the property `owner/boot` has an index of its own."""
        if path in ALWAYS:
            return not self._none
        return not self._none and _longest(self._included, path) > _longest(self._excluded, path)

    def orders(self, order: Sequence[Order]) -> bool:
        """Whether an ORDER BY of several properties has its composite index, in its direction or the opposite."""
        opposite = [(path, not descends) for path, descends in order]
        return any(composite in (list(order), opposite) for composite in self._composites)

    def values(self, item: Mapping[str, Any]) -> int:
        """How many values of an item are indexed."""
        if self._none:
            return 0
        if self._wide:
            return sum(self.covers(path) for path in _leaves(item, ""))
        return sum(look_up(item, path) is not UNDEFINED for path in self._exact)


class _Undefined:
    """What a property is that an item does not have."""


UNDEFINED = _Undefined()


def look_up(item: Any, path: str) -> Any:
    """The property at `owner/boot`, or UNDEFINED."""
    for name in path.split("/"):
        if not isinstance(item, Mapping) or name not in item:
            return UNDEFINED
        item = item[name]
    return item


def _longest(patterns: Sequence[str], path: str) -> int:
    """The length of the most precise pattern that matches, or -1."""
    return max((len(pattern) for pattern in patterns if _matches(pattern, path)), default=-1)


def _matches(pattern: str, path: str) -> bool:
    if pattern.endswith("/*"):
        return f"/{path}/".startswith(pattern[:-1])
    return pattern == f"/{path}/?"


def _leaves(item: Any, path: str) -> list[str]:
    if isinstance(item, Mapping):
        return [leaf for name, value in item.items() for leaf in _leaves(value, f"{path}/{name}" if path else name)]
    if isinstance(item, list):
        return [leaf for value in item for leaf in _leaves(value, f"{path}/[]")]
    return [path]
