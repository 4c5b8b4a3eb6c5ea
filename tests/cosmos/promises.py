"""What the stand-in promises, one sentence each: the names that `broken` takes, to switch a promise off.

Some are refusals of what a right store never sends: GUARDS. They find faults in a store, and a right store does not
notice when they are off. On all others a store stands: its tests must fail when one is broken.
"""

from __future__ import annotations

PROMISES: dict[str, str] = {
    "key": "A request that is signed with another key, or with none, is refused with 401.",
    "token": "A bearer token that the issuer did not give is refused with 401.",
    "role": "A bearer token without the data role is refused with 403, and none may make a database or a container.",
    "missing_read": "A read of an item that is not there is 404.",
    "missing_replace": "A replace of an item that is not there is 404 and writes nothing.",
    "missing_delete": "A delete of an item that is not there is 404.",
    "create_conflict": "A create where an item is there is 409 and writes nothing.",
    "if_match_replace": "A replace under a stale ETag is 412 and writes nothing.",
    "if_match_upsert": "An upsert of an item that is there, under a stale ETag, is 412 and writes nothing.",
    "if_match_delete": "A delete under a stale ETag is 412 and deletes nothing.",
    "if_match_batch": "An operation of a batch under a stale ETag fails the batch with 412.",
    "new_etag": "Each write gives the item an ETag that it never had.",
    "whole_item": "A write replaces the whole item: what the new version leaves out is gone.",
    "deleted": "A deleted item is gone from reads and queries.",
    "batch_atomic": "A batch with one failed operation leaves nothing behind, and says 424 of the others.",
    "batch_operations": "A batch of more than 100 operations is refused with 400.",
    "item_size": "An item of more than 2 MB is refused with 413.",
    "request_size": "A batch of more than 2 MB is refused with 413.",
    "key_in_body": "An item whose key is not the one in the header is refused with 400.",
    "partitions": "Items of one id in two logical partitions are two items.",
    "prefix": "A query over a range of effective keys returns what lies in that range, and nothing else.",
    "cross_partition": "A query across partitions without the header that allows it is refused with 400.",
    "filter": "A query returns only what its WHERE clause describes.",
    "order": "A query with ORDER BY returns its items in that order.",
    "top": "A query with TOP returns no more than so many items.",
    "continuation": "A page that is not the last has a continuation, and the next page begins where it ended.",
    "query_texts": "A query text that the store does not have is refused with 400.",
    "composite_index": "An ORDER BY of two properties without its composite index is refused with 400.",
    "order_index": "An ORDER BY of a property that is not indexed is refused with 400.",
    "ttl": "An item whose ttl has passed since its last write is gone from reads, queries and the feed at once.",
    "ts": "An item's _ts is the time of its last write in whole seconds, by the server's clock.",
    "session": "A read that brings a session token sees all that the token's answer saw.",
    "feed_updates": "An item that is written again appears again in the change feed.",
    "feed_order": "The change feed of a range is in the order of the last writes.",
    "feed_position": "The change feed goes on behind the position that it is given, and misses nothing.",
    "feed_deletions": "The change feed does not show deleted items.",
    "charge": "Each answer says what it cost in x-ms-request-charge.",
}

GUARDS: frozenset[str] = frozenset(
    {
        "if_match_upsert",  # a write under an ETag is a replace
        "if_match_delete",  # no delete has a condition
        "batch_operations",  # the store's own bound is below these three
        "item_size",
        "request_size",
        "key_in_body",
        "prefix",  # the text names the tenant, too
        "top",  # the store cuts its page itself
        "cross_partition",
        "query_texts",
        "composite_index",
        "order_index",
    }
)
