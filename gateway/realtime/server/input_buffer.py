"""The input audio buffer of a Realtime server: caller sound that is not part of an item yet."""

from __future__ import annotations

from audio.formats import AudioFormat, AudioFrame
from gateway.realtime.server.item_audio import MAX_ITEM_BYTES

IDLE_KEPT_MS = 1000  # of sound that is kept before voice detection finds speech


class InputBuffer:
    """Counts the caller's sound, and keeps the part that may become an item."""

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._samples = 0  # of the whole session, at the present rate
        self._pending_samples = 0
        self._kept = bytearray()

    @property
    def pending_ms(self) -> int:
        """How many ms of sound a commit would take."""
        return self.format.ms_of(self._pending_samples)

    def set_format(self, format: AudioFormat) -> None:
        """Set the format of the sound that follows; sound kept in another format is dropped, but still counted."""
        if format == self.format:
            return
        self._samples = self._samples * format.rate_hz // self.format.rate_hz
        self._pending_samples = self._pending_samples * format.rate_hz // self.format.rate_hz
        self._kept.clear()
        self.format = format

    def append(self, payload: bytes, *, idle: bool) -> AudioFrame:
        """Append sound; returns it as a frame with its position. `idle`: the caller is silent, so 1 s is kept."""
        frame = AudioFrame(payload, self.format, self._samples)
        self._samples += frame.samples
        self._pending_samples += frame.samples
        # One sample more than an item may keep lets `ItemAudio` see that the sound is incomplete.
        limit = self.format.bytes_for_ms(IDLE_KEPT_MS) if idle else MAX_ITEM_BYTES + self.format.sample_bytes
        self._kept += payload
        if len(self._kept) > limit:
            del self._kept[: len(self._kept) - limit]
        return frame

    def take(self) -> bytes:
        """Empty the buffer, and return the sound as far as it was kept."""
        kept = bytes(self._kept)
        self.clear()
        return kept

    def clear(self) -> None:
        """Drop the sound since the last item."""
        self._kept.clear()
        self._pending_samples = 0
