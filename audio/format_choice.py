"""Chooses the format in which a telephone call talks to its model, from what its far end sends and the model takes."""

from __future__ import annotations

from collections.abc import Sequence

from audio.formats import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding

# For sound at 8 kHz: these need no resampling, only a table. PCM first, because it loses nothing.
AT_8K = (PCM16_8K, PCMU_8K, PCMA_8K)


def model_format(far_end: AudioFormat, takes: Sequence[AudioFormat]) -> AudioFormat:
    """The format for both directions between the call and its model, of those that the model `takes` and gives.

    The far end's own format goes untouched where the model takes it. Sound at 8 kHz stays at 8 kHz where it can: G.711
    and PCM become each other by table. All else is resampled, to PCM at 24 kHz if the model takes it. Raises
    ValueError for a model that takes nothing.
    """
    if far_end in takes:
        return far_end
    if far_end.rate_hz == PCM16_8K.rate_hz:
        for format in AT_8K:
            if format in takes:
                return format
    if PCM16_24K in takes:
        return PCM16_24K
    if not takes:
        raise ValueError("a model that takes no format of sound cannot have a telephone call")
    return max(takes, key=lambda format: (format.coding is Coding.PCM16, format.rate_hz))
