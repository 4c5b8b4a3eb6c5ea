"""Keeps the files of recordings: the contract of a blob store, a folder, and a container of Azure Blob Storage."""
