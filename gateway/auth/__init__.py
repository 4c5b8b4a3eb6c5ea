"""Who may come in: requests as they arrive, host and origin, keys, client secrets, and the order they are asked in."""
