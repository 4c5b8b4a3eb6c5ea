"""A model's leg that takes sound in any format: what the model gets of each far end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.calls.call_rig import SETUP, Model
from support.virtual import run

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame
from audio.g711 import encode
from audio.resampling import Converter
from gateway.calls.converted_sound import ConvertingConnector
from gateway.legs.fast_path_end import fast_path_of
from gateway.legs.model import ModelLeg
from sessions.commands import ClearSound, Configure, SendAudio

TONE = (8_000 * np.sin(np.arange(4_800) / 9)).astype("<i2").tobytes()


def dialled(format: AudioFormat) -> tuple[Model, ModelLeg]:
    model = Model()

    async def main() -> ModelLeg:
        setup = replace(SETUP, input_format=format)
        return await ConvertingConnector(model).dial(setup, 0, lambda event: None, lambda fault: None)

    return model, run(main())


def frames(format: AudioFormat, start_ms: int = 0) -> list[AudioFrame]:
    """Five frames of 20 ms; the first is at `start_ms`."""
    step, start = format.bytes_for_ms(20), format.rate_hz * start_ms // 1000
    sound = TONE if format.coding is PCM16_8K.coding else encode(TONE, format.coding)
    return [AudioFrame(sound[n * step : (n + 1) * step], format, start + n * format.rate_hz // 50) for n in range(5)]


@pytest.mark.parametrize("format", [PCMU_8K, PCMA_8K, PCM16_24K], ids=str)
def test_sound_that_the_model_takes_goes_through_untouched(format: AudioFormat) -> None:
    model, leg = dialled(format)
    sent = [SendAudio(frame, b"as it came") for frame in frames(format)]
    for command in (*sent, ClearSound(None)):
        leg.send(command)
    assert model.sent == [*sent, ClearSound(None)]
    assert all(ours is theirs for ours, theirs in zip(sent, model.sent, strict=False))


def test_pcm_at_8_khz_becomes_mu_law_sample_for_sample() -> None:
    model, leg = dialled(PCMU_8K)
    for frame in frames(PCM16_8K, start_ms=1_000):
        leg.send(SendAudio(frame, b"another format"))
    wanted = [
        SendAudio(AudioFrame(encode(frame.payload, PCMU_8K.coding), PCMU_8K, frame.start_sample), None)
        for frame in frames(PCM16_8K, start_ms=1_000)
    ]
    assert model.sent == wanted


@pytest.mark.parametrize("far_end", [PCM16_16K, PCM16_8K, PCMU_8K], ids=str)
def test_all_else_is_resampled_without_a_seam_and_keeps_its_place(far_end: AudioFormat) -> None:
    model, leg = dialled(PCM16_24K)
    converter = Converter(far_end, PCM16_24K)
    for frame in frames(far_end, start_ms=1_000):
        leg.send(SendAudio(frame, None))
    assert model.sent == [SendAudio(converter.convert(frame), None) for frame in frames(far_end, start_ms=1_000)]
    starts = [sent.frame.start_sample for sent in model.sent if isinstance(sent, SendAudio)]
    assert starts == [24_000 + 480 * n for n in range(5)]


def test_the_format_may_change_on_both_sides() -> None:
    model, leg = dialled(PCM16_24K)
    leg.send(SendAudio(frames(PCM16_16K)[0], None))
    leg.send(SendAudio(frames(PCMU_8K, start_ms=20)[0], None))
    leg.send(Configure(replace(SETUP, input_format=PCMU_8K)))
    leg.send(SendAudio(frames(PCMU_8K, start_ms=40)[0], None))
    leg.send(SendAudio(frames(PCM16_8K, start_ms=60)[0], None))
    sound = [sent.frame for sent in model.sent if isinstance(sent, SendAudio)]
    assert [(frame.format, frame.start_sample * 1000 // frame.format.rate_hz) for frame in sound] == [
        (PCM16_24K, 0),
        (PCM16_24K, 20),
        (PCMU_8K, 40),
        (PCMU_8K, 60),
    ]


def test_the_leg_behind_it_is_closed_and_asked_what_it_dropped() -> None:
    model, leg = dialled(PCMU_8K)
    model.dropped_ms = 40
    leg.close()
    assert (model.closed, getattr(leg, "dropped_ms", None)) == (1, 40)
    assert fast_path_of(leg) is None
