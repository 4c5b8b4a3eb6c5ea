"""Makes spans of the documents of calls, without any SDK, network or clock."""
