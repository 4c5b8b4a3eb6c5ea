"""Which format a telephone call talks to its model in: every far end with every kind of model."""

from __future__ import annotations

import pytest

from audio.format_choice import model_format
from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding

PCM16_48K = AudioFormat(Coding.PCM16, 48_000)
ULAW, ALAW, P8, P16, P24, P48 = PCMU_8K, PCMA_8K, PCM16_8K, PCM16_16K, PCM16_24K, PCM16_48K
FAR_ENDS = (ULAW, ALAW, P8, P16, P24, P48)
# What a model takes, and then its format for each far end, in the order above.
TABLE = {
    "realtime": ((P24, ULAW, ALAW), (ULAW, ALAW, ULAW, P24, P24, P24)),
    "realtime, in another order": ((ALAW, ULAW, P24), (ULAW, ALAW, ULAW, P24, P24, P24)),
    "every format": ((P8, P16, P24, ULAW, ALAW), (ULAW, ALAW, P8, P16, P24, P24)),
    "16 and 24 kHz and G.711": ((P16, P24, ULAW, ALAW), (ULAW, ALAW, ULAW, P16, P24, P24)),
    "24 kHz alone": ((P24,), (P24, P24, P24, P24, P24, P24)),
    "24 kHz and mu-law": ((P24, ULAW), (ULAW, ULAW, ULAW, P24, P24, P24)),
    "24 kHz and A-law": ((P24, ALAW), (ALAW, ALAW, ALAW, P24, P24, P24)),
    "8 and 24 kHz": ((P8, P24), (P8, P8, P8, P24, P24, P24)),
    "mu-law alone": ((ULAW,), (ULAW, ULAW, ULAW, ULAW, ULAW, ULAW)),
    "16 kHz alone": ((P16,), (P16, P16, P16, P16, P16, P16)),
    "16 kHz and mu-law": ((P16, ULAW), (ULAW, ULAW, ULAW, P16, P16, P16)),
    "16 and 48 kHz": ((P16, P48), (P48, P48, P48, P16, P48, P48)),
}


@pytest.mark.parametrize("far_end", FAR_ENDS, ids=str)
@pytest.mark.parametrize("model", TABLE)
def test_the_format_for_a_far_end_and_a_model(model: str, far_end: AudioFormat) -> None:
    takes, chosen = TABLE[model]
    assert model_format(far_end, takes) == chosen[FAR_ENDS.index(far_end)]


@pytest.mark.parametrize("far_end", FAR_ENDS, ids=str)
@pytest.mark.parametrize("model", TABLE)
def test_a_model_gets_what_it_takes_and_its_own_format_untouched(model: str, far_end: AudioFormat) -> None:
    takes, _ = TABLE[model]
    chosen = model_format(far_end, takes)
    assert chosen in takes
    assert chosen == far_end or far_end not in takes


def test_a_model_that_takes_no_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no format"):
        model_format(PCMU_8K, ())
