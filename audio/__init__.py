"""Samples: formats, G.711, resampling, framing, speech levels, WAV files. No vendor, no clock, no waiting."""
