"""What both sides of a call agree on: the protocols of a caller's leg and a model's leg, and the optional fast path."""
