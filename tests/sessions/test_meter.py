from __future__ import annotations

from sessions.meter import Meter


def test_sums_are_kept_across_a_change_of_rate() -> None:
    meter = Meter()
    meter.caller_rate(8_000)
    meter.caller_samples += 8_000
    meter.caller_rate(24_000)
    meter.agent_rate(8_000)
    meter.agent_samples += 4_000
    meter.agent_rate(16_000)
    assert (meter.caller_samples, meter.agent_samples) == (24_000, 8_000)
