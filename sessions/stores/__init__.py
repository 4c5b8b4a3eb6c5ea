"""Where the records of calls are kept: one contract, and the stores that meet it."""
