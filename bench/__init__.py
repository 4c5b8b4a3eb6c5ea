"""The benchmark: a load of calls, a stand-in model, the relay floor, and the run that compares them. See README.md."""
