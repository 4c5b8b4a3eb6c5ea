"""Stores for the records of calls: the contract, the documents, and SQLite."""
