"""Asterisk's AudioSocket: telephone calls over TCP, one frame of sound each 20 ms."""
