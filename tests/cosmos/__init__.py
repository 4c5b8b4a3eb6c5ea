"""A stand-in for Azure Cosmos DB, for tests and the bench: the REST interface that `azure-cosmos` 4.17.1 speaks.

In process: `async with StandIn(ranges=3) as server: CosmosClient(server.url, server.key)`. As a program:
`python -m tests.cosmos --port 8081`, which prints one line when it listens and is steered by `/_control/` (control.py).

What it does as the service does: promises.py has the list, one sentence each, and each can be switched off, so that a
test of a store can be shown to fail when the service breaks that promise.

What it does not do, or otherwise:
- Query texts: the store's own and no others (templates.py). There is no SQL parser, no query plan, no patch, no stored
  procedure, no throughput settings, no `delete_all_items_by_partition_key`.
- Request units are counted by rules of thumb from Microsoft's published figures (charges.py), not measured.
- One region holds the data. Each physical range has one leader and, while the fault `lag` is set, one follower that
  stopped at that moment (shards.py). Ranges never split.
- Authorization: the signature of a key is checked, the age of its date is not. Entra tokens are opaque words of a test
  issuer (auth.py); no JWT is read.
- Nothing is kept on disk.
"""
