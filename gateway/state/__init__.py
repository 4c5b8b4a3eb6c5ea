"""Writes the documents of sessions to the store: beside the calls, through store outages, and after a crash."""
