"""Work on audio samples: formats, G.711, resampling, framing, levels, WAV files. No vendor, no clock, no `await`."""
