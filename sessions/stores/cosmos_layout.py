"""Checks that an account and a container of Cosmos DB are laid out as the store needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessions.stores.contract import StoreMisconfigured
from sessions.stores.cosmos_queries import DEFAULT_TTL, INDEXING_POLICY, PARTITION_KEY_KIND, PARTITION_KEY_PATHS

# Under a weaker default, a client cannot ask for sessions, in which it reads what it has written.
CONSISTENT = frozenset({"Strong", "BoundedStaleness", "Session"})
_HOW = "docs/cosmos.md says how to make it"


def check_account(account: Any, host: str) -> None:
    """Check what the SDK has read of an account. Raises StoreMisconfigured."""
    # The SDK has no public name for this.
    if getattr(account, "_EnableMultipleWritableLocations", False):
        raise StoreMisconfigured(
            f"{host} has several write regions, in which two servers could write one session; turn off multi-region "
            "writes of the account"
        )
    level = (getattr(account, "ConsistencyPolicy", None) or {}).get("defaultConsistencyLevel")
    if level is not None and level not in CONSISTENT:
        raise StoreMisconfigured(f"{host} has the default consistency {level}; set it to Session in the account")


def check_container(properties: Mapping[str, Any], place: str) -> None:
    """Check the properties of a container. Raises StoreMisconfigured."""
    key = properties.get("partitionKey") or {}
    if tuple(key.get("paths", ())) != PARTITION_KEY_PATHS or key.get("kind") != PARTITION_KEY_KIND:
        shown = ", ".join(PARTITION_KEY_PATHS)
        raise StoreMisconfigured(
            f"{place} has another partition key than [{shown}] ({PARTITION_KEY_KIND}), which cannot be changed later; "
            f"name another container ({_HOW})"
        )
    if properties.get("defaultTtl") != DEFAULT_TTL:
        raise StoreMisconfigured(
            f"{place} has no defaultTtl of {DEFAULT_TTL}, by which only documents with a ttl expire; set Time to Live "
            "in the container's settings to On (no default)"
        )
    policy = properties.get("indexingPolicy") or {}
    if policy.get("indexingMode") != INDEXING_POLICY["indexingMode"] or not _has_composite_index(policy):
        raise StoreMisconfigured(
            f"{place} lacks the composite index (started_at descending, session_id descending), without which sessions "
            f"cannot be listed; set its indexing policy ({_HOW})"
        )


def _has_composite_index(policy: Mapping[str, Any]) -> bool:
    """Whether a composite index serves the order of the list; one with all orders turned round does too."""
    wanted = [(part["path"], part["order"]) for part in INDEXING_POLICY["compositeIndexes"][0]]
    turned = [(path, "ascending") for path, _ in wanted]
    found = [
        [(part.get("path"), part.get("order", "ascending")) for part in index]
        for index in policy.get("compositeIndexes") or ()
    ]
    return wanted in found or turned in found
