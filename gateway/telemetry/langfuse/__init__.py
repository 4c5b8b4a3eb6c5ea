"""What Langfuse takes beside spans: the scores of calls, and their sound. Sends nothing itself."""
