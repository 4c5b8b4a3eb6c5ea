"""Agents as files: read, checked and kept in versions."""
