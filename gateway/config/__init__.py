"""Reads what a person configures: settings and their sources, the files that people write, and URLs."""
