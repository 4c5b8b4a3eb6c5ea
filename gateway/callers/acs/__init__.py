"""Calls of Azure Communication Services: its events, its tokens, its actions and its media sockets."""
