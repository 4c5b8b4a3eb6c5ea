"""Telephone calls of Twilio and of SignalWire: webhooks, TwiML, signatures, and the media socket of Media Streams."""
