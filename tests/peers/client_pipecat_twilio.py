"""Pipecat's `TwilioFrameSerializer` at 8 kHz: reads what a far end has sent and what is to be said, as JSON.

Input: `messages` of the far end, and `sound`, runs of 16-bit samples in hex. Output: what was `heard` of the messages,
in the same form, the `digits`, and what was `sent` for each run of sound and for an interruption at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from pipecat.frames.frames import InputAudioRawFrame, InputDTMFFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.serializers.twilio import TwilioFrameSerializer


async def talk(given: dict[str, Any]) -> dict[str, Any]:
    """What the serializer makes of both directions."""
    params = TwilioFrameSerializer.InputParams(auto_hang_up=False, sample_rate=8000)
    serializer = TwilioFrameSerializer("MZ1", params=params)
    await serializer.setup(SimpleNamespace(audio_in_sample_rate=8000))  # type: ignore[arg-type]
    frames = [await serializer.deserialize(message) for message in given["messages"]]
    said = [OutputAudioRawFrame(bytes.fromhex(run), 8000, 1) for run in given["sound"]]
    return {
        "heard": [frame.audio.hex() for frame in frames if isinstance(frame, InputAudioRawFrame)],
        "digits": [frame.button.value for frame in frames if isinstance(frame, InputDTMFFrame)],
        "sent": [await serializer.serialize(frame) for frame in [*said, InterruptionFrame()]],
    }


if __name__ == "__main__":
    json.dump(asyncio.run(talk(json.load(sys.stdin))), sys.stdout)
