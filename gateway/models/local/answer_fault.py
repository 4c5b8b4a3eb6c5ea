"""The error for an endpoint's answer that cannot be used."""

from __future__ import annotations

from sessions.errors import VoiceError


class AnswerFault(VoiceError):
    """An endpoint's answer cannot be used. The message is one of our fixed texts and never quotes the endpoint."""
