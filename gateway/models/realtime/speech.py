"""The speech in a model's messages: its item, its format, and the byte pattern of such messages.

Wire audio: base64 in JSON, mono; PCM16 at 24 kHz or G.711 at 8 kHz. The response names the format, or else the session
does. Source: OpenAI Realtime API reference (GA), `response.output_audio.delta`.
"""

from __future__ import annotations

from dataclasses import dataclass

from audio.formats import PCM16_24K, AudioFormat
from audio.runs import SoundStream
from gateway.legs.fast_path_end import SoundSource
from gateway.realtime import fields
from gateway.realtime.scan import Delta, SoundPattern, decode_audio, scan_delta
from gateway.realtime.wire_formats import FORMATS
from sessions.bounded import remember
from sessions.events import AgentAudio
from sessions.ports import Json


@dataclass(slots=True)
class _Track:
    """The sound of one item."""

    stream: SoundStream
    half: bytes = b""  # the first half of a sample; the next message has the other half


@dataclass(frozen=True, slots=True)
class _Sounding:
    """The item of the newest message with sound, and the byte pattern of such messages."""

    response_id: str
    item_id: str
    pattern: SoundPattern


class ModelSpeech:
    """Reads the sound of one leg's items, and gives each frame its place in its item."""

    __slots__ = ("_formats", "_sounding", "_tracks", "format")

    def __init__(self) -> None:
        # The format of responses that do not name one.
        self.format = PCM16_24K
        self._formats: dict[str, AudioFormat] = {}  # by response
        self._tracks: dict[str, _Track] = {}  # by item
        self._sounding: _Sounding | None = None

    def response(self, response_id: str, described: Json) -> None:
        """Note that a response begins; `described` is its object on the wire, which may name a format."""
        remember(self._formats, response_id, named_format(described) or self.format)

    def read(self, text: bytes) -> AgentAudio | None:
        """The sound of a message, found by its position in the bytes; None if the message must be parsed.

        Raises WireError if the sound is not base64.
        """
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
        """The sound of a message that was parsed; `audio` is base64. Raises WireError if it is not."""
        return self._sounded(response_id, item_id, decode_audio(audio, param="delta"), text)

    def source(self, response_id: str, item_id: str) -> SoundSource | None:
        """How a fast path reads the next messages with sound of this item; None if it cannot.

        It cannot where another item's sound came last, or where half a sample waits.
        """
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
    """The sound format that a session or a response names; None if it names none or an unknown one."""
    value = fields.inside(holder, "audio", "output", "format", "type")
    return FORMATS.get(value) if isinstance(value, str) else None


def _sounding(text: bytes, delta: Delta) -> _Sounding | None:
    pattern = SoundPattern.learn(text, b"delta", delta.audio)
    return None if pattern is None else _Sounding(delta.response_id, delta.item_id, pattern)
