"""What is wrong with an endpoint's answer."""

from __future__ import annotations

from sessions.errors import VoiceError


class AnswerFault(VoiceError):
    """An endpoint's answer cannot be used. The message says why in fixed words, never in the endpoint's own."""
