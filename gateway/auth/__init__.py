"""Who may use the server: the request, its host and origin, API keys, client secrets, and the order of the checks."""
