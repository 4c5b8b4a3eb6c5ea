"""The input audio buffer of a Realtime server: caller sound that is not yet an item."""

from __future__ import annotations

from audio.formats import AudioFormat, AudioFrame
from gateway.realtime.kept_sound import MAX_ITEM_BYTES

IDLE_KEPT_MS = 1000  # in front of speech that voice detection has not found yet


class InputBuffer:
    """Counts the caller's sound, and keeps what of it may become an item."""

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._samples = 0  # of the whole session, in the present format
        self._pending_samples = 0
        self._kept = bytearray()

    @property
    def pending_ms(self) -> int:
        """How much sound a commit would take."""
        return self.format.ms_of(self._pending_samples)

    def set_format(self, format: AudioFormat) -> None:
        """From here on the sound comes in this format; what is kept in another one is forgotten, but counted."""
        if format == self.format:
            return
        self._samples = self._samples * format.rate_hz // self.format.rate_hz
        self._pending_samples = self._pending_samples * format.rate_hz // self.format.rate_hz
        self._kept.clear()
        self.format = format

    def append(self, payload: bytes, *, idle: bool) -> AudioFrame:
        """Take sound in, and give it its place in time. `idle`: nobody speaks, so only the last second matters."""
        frame = AudioFrame(payload, self.format, self._samples)
        self._samples += frame.samples
        self._pending_samples += frame.samples
        # One more byte than an item may keep tells the conversation that it cannot have been all.
        limit = self.format.bytes_for_ms(IDLE_KEPT_MS) if idle else MAX_ITEM_BYTES + self.format.sample_bytes
        self._kept += payload
        if len(self._kept) > limit:
            del self._kept[: len(self._kept) - limit]
        return frame

    def take(self) -> bytes:
        """Empty the buffer into an item: its sound, as far as it was kept."""
        kept = bytes(self._kept)
        self.clear()
        return kept

    def clear(self) -> None:
        """Forget the sound since the last item."""
        self._kept.clear()
        self._pending_samples = 0
