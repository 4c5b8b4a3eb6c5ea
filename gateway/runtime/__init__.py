"""The process and its event loop: running it, protecting its tasks, starting programs, finding what blocks it."""
