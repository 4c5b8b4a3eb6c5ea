"""Being a caller: `patchbay call` plays recordings to an agent in real time, hears the answers, and measures them."""
