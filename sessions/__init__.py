"""One call, as plain synchronous Python: events and the time go in, commands come out."""
