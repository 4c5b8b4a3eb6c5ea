"""The callers' legs, one protocol a pair of files: a pure codec, and the socket's thin shell."""
