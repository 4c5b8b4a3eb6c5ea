"""One call as plain synchronous Python: it takes events and the time, and returns commands."""
