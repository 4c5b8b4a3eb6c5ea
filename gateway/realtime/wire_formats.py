"""Audio formats as the Realtime protocol writes them: PCM at 24 kHz, and G.711 without a rate."""

from __future__ import annotations

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from gateway.realtime import fields
from sessions.ports import Json, JsonObject

FORMATS: dict[str, AudioFormat] = {"audio/pcm": PCM16_24K, "audio/pcmu": PCMU_8K, "audio/pcma": PCMA_8K}
# What everything that speaks the protocol takes and gives.
REALTIME_FORMATS = tuple(FORMATS.values())
NAMES = {format: name for name, format in FORMATS.items()}


def read_format(value: Json, path: str) -> AudioFormat:
    """The format that a client names. Raises WireError for an unknown type or another rate than the type's."""
    written = fields.json_object(value, path)
    kind = fields.one_of(fields.required(written, "type", path), f"{path}.type", FORMATS)
    format = FORMATS[kind]
    if written.get("rate") is not None and written["rate"] != format.rate_hz:
        raise fields.invalid(f"{path}.rate", f"only {format.rate_hz} is supported for {kind}")
    return format


def write_format(format: AudioFormat) -> JsonObject:
    """A format as a wire object. Raises ValueError for a format that the protocol does not have."""
    if format not in NAMES:
        raise ValueError(f"the Realtime protocol has no format {format}")
    if format == PCM16_24K:
        return {"type": "audio/pcm", "rate": 24000}
    return {"type": NAMES[format]}
