"""The speech in a model's messages: whose it is, in which format, and how the next message of it will look.

Wire audio: base64 in JSON; PCM16 24 kHz, or G.711 at 8 kHz, mono, as the response or else the session says. Source:
OpenAI Realtime API reference (GA).
"""

from __future__ import annotations

from dataclasses import dataclass

from audio.formats import PCM16_24K, AudioFormat
from audio.runs import SoundStream
from gateway.lane import SoundSource
from gateway.realtime import fields
from gateway.realtime.scan import Delta, SoundPattern, decode_audio, scan_delta
from gateway.realtime.wire_formats import FORMATS
from sessions.events import AgentAudio
from sessions.ports import Json
from sessions.remembering import remember


@dataclass(slots=True)
class _Track:
    """The sound of one item."""

    stream: SoundStream
    half: bytes = b""  # of a sample that the next message completes


@dataclass(frozen=True, slots=True)
class _Sounding:
    """Whose sound the newest message with sound carried, and how such messages look."""

    response_id: str
    item_id: str
    pattern: SoundPattern


class ModelSpeech:
    """Follows the sound of each item of one leg, message by message."""

    __slots__ = ("_formats", "_sounding", "_tracks", "format")

    def __init__(self) -> None:
        self.format = PCM16_24K  # of responses that do not name one
        self._formats: dict[str, AudioFormat] = {}  # by response
        self._tracks: dict[str, _Track] = {}  # by item
        self._sounding: _Sounding | None = None

    def response(self, response_id: str, described: Json) -> None:
        """A response begins; `described` is its object on the wire, which may name a format."""
        remember(self._formats, response_id, named_format(described) or self.format)

    def read(self, text: bytes) -> AgentAudio | None:
        """The sound of a message that is found by position; None where it must be parsed. Raises WireError."""
        sounding = self._sounding
        if sounding is not None:
            payload = sounding.pattern.payload(text)
            if payload is not None:
                return self._sounded(sounding.response_id, sounding.item_id, payload, text)
        delta = scan_delta(text)
        if delta is None:
            return None
        self._sounding = _sounding(text, delta)
        return self.parsed(delta.response_id, delta.item_id, delta.audio, text)

    def parsed(self, response_id: str, item_id: str, audio: bytes | str, text: bytes) -> AgentAudio:
        """The sound of a message that was read otherwise; `audio` is base64. Raises WireError."""
        return self._sounded(response_id, item_id, decode_audio(audio, param="delta"), text)

    def source(self, response_id: str, item_id: str) -> SoundSource | None:
        """The speech of an item, as its next message will bring it; None where that cannot be foretold."""
        sounding, track = self._sounding, self._tracks.get(item_id)
        if sounding is None or track is None or track.half:
            return None
        if sounding.item_id != item_id or sounding.response_id != response_id:
            return None
        return SoundSource(sounding.pattern, track.stream)

    def _sounded(self, response_id: str, item_id: str, payload: bytes, text: bytes) -> AgentAudio:
        track = self._tracks.get(item_id)
        if track is None:
            track = _Track(SoundStream(self._formats.get(response_id, self.format)))
            remember(self._tracks, item_id, track)
        sample_bytes = track.stream.format.sample_bytes
        if track.half or len(payload) % sample_bytes:
            payload = track.half + payload
            whole = len(payload) - len(payload) % sample_bytes
            payload, track.half = payload[:whole], payload[whole:]
        return AgentAudio(response_id, item_id, track.stream.frame(payload), text)


def named_format(holder: Json) -> AudioFormat | None:
    """The format of sound that a session or a response names; None where it names none that we know."""
    value = fields.inside(holder, "audio", "output", "format", "type")
    return FORMATS.get(value) if isinstance(value, str) else None


def _sounding(text: bytes, delta: Delta) -> _Sounding | None:
    pattern = SoundPattern.learn(text, b"delta", delta.audio)
    return None if pattern is None else _Sounding(delta.response_id, delta.item_id, pattern)
