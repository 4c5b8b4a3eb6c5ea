"""The OpenAI Realtime protocol (GA), pure: message shapes, and the server half that makes a brain into a server."""
