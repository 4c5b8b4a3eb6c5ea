"""The benchmark: a load of calls, a stand-in model, a relay as the floor, and a run that compares. See README.md."""
