"""The identity of this process at Microsoft Entra ID, for the services that take its tokens instead of a key."""
