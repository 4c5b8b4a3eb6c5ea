"""The silence limit counts from the caller's last audible sound, although its level is read only near the limit."""

from __future__ import annotations

from support.calls.call_driver import Driver


def test_a_caller_who_speaks_keeps_the_idle_limit_away_and_a_quiet_one_does_not() -> None:
    driver = Driver(idle_ms=5_000)
    driver.speak(6_200)  # across the moment at which silence would have ended the call
    assert driver.call.end_reason is None
    driver.speak(4_900, loud=False)
    assert driver.call.end_reason is None
    driver.speak(200, loud=False)
    assert driver.call.end_reason == "idle_limit"
