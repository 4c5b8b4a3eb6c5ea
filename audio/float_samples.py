"""Converts floating-point samples to PCM16. It is a separate module so that only such files load numpy."""

from __future__ import annotations

import numpy as np


def floats_to_pcm16(payload: bytes, bits: int) -> bytes:
    """Convert 32- or 64-bit samples from -1 to 1. Louder ones are clipped; NaN and infinity become silence."""
    samples = np.frombuffer(payload, dtype="<f4" if bits == 32 else "<f8")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.nan_to_num(samples * 32768.0, nan=0.0, posinf=0.0, neginf=0.0)
    payload16: bytes = np.clip(np.rint(scaled), -32768, 32767).astype("<i2").tobytes()
    return payload16
