"""A model that follows a script, for tests and demonstrations."""
