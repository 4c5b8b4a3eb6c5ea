"""What the store asks of Cosmos DB: the layout of the container, its index policy, and the text of every query.

Values always travel as parameters. A query goes one of three ways, and its text keeps within what that way allows:

- With the full key (tenant and session) it runs in one partition.
- With the prefix `[tenant]` it runs in each physical partition that holds the tenant, normally one. The SDK joins their
  answers without sorting them, so the text has a TOP for each of them, and the store sorts what comes.
- Without a key it runs in all partitions. The service answers it directly only without ORDER BY and TOP; otherwise
  the SDK would first ask for a query plan.

Source: learn.microsoft.com/azure/cosmos-db/nosql/query, .../index-policy, .../hierarchical-partition-keys
"""

from __future__ import annotations

from typing import Any, Final

PARTITION_KEY_PATHS = ("/tenant", "/session_id")
PARTITION_KEY_KIND: Final = "MultiHash"
DEFAULT_TTL = -1  # a document expires only if it has a ttl of its own

INDEXING_POLICY: dict[str, Any] = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [
        {"path": f"{path}/?"} for path in ("/type", "/state", "/agent", "/started_at", "/purge_after", "/owner/boot")
    ],
    "excludedPaths": [{"path": "/*"}],
    "compositeIndexes": [
        [{"path": "/started_at", "order": "descending"}, {"path": "/session_id", "order": "descending"}]
    ],
}

# With the full key.
OF_TYPE = "SELECT * FROM c WHERE c.type = @type ORDER BY c.id"
IDS = "SELECT VALUE c.id FROM c"
ENDS = "SELECT c.type, c.purge_after FROM c"  # what decides when a partition expires

# Without a key. `left_live` wants whole documents: whoever takes a session writes its document again.
LIVE = "SELECT * FROM c WHERE c.type = 'session' AND c.state = 'live'"
LIVE_OF_BOOT = f"{LIVE} AND c.owner.boot = @boot"
EXPIRED_SESSIONS = (
    "SELECT c.tenant, c.session_id, c.purge_after FROM c WHERE c.type = 'session' AND c.purge_after <= @now"
)
EXPIRED_OTHERS = (
    "SELECT c.tenant, c.session_id, c.purge_after FROM c WHERE c.type != 'session' AND c.purge_after <= @now"
)

# With the prefix. Only documents whose start is a number are listed: a string would sort before all of them.
_SESSIONS = "SELECT TOP @top * FROM c WHERE c.tenant = @tenant AND c.type = 'session' AND c.started_at >= 0"
_AFTER = "(c.started_at < @started_at OR (c.started_at = @started_at AND c.session_id < @session_id))"
_NEWEST_FIRST = "ORDER BY c.started_at DESC, c.session_id DESC"


def sessions_text(*, after: bool, agent: bool, state: bool) -> str:
    """The query for a page of a tenant's sessions.

    Its parameters are @top and @tenant; @started_at and @session_id with `after`; @agent with `agent`; @state with
    `state`.
    """
    conditions = [_SESSIONS]
    if after:
        conditions.append(_AFTER)
    if agent:
        conditions.append("c.agent = @agent")
    if state:
        conditions.append("c.state = @state")
    return f"{' AND '.join(conditions)} {_NEWEST_FIRST}"


# Every text that the store sends.
TEXTS = frozenset(
    {
        OF_TYPE,
        IDS,
        ENDS,
        LIVE,
        LIVE_OF_BOOT,
        EXPIRED_SESSIONS,
        EXPIRED_OTHERS,
        *(
            sessions_text(after=after, agent=agent, state=state)
            for after in (False, True)
            for agent in (False, True)
            for state in (False, True)
        ),
    }
)
