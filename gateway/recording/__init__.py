"""Records the sound and the messages of a call: spooled while it runs, made into files after its end."""
