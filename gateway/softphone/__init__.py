"""A software caller: plays recordings to an agent in real time, receives the answers and measures them."""
