"""What all telephone protocols share: letting a call in, its first message, its media socket and its plan."""
