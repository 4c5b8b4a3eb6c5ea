"""Amounts of money in a file that a person writes: decimal dollars, read exactly, without floats."""

from __future__ import annotations

from typing import TypeVar

from gateway.config.section import Section
from gateway.config.yaml_lines import SpelledFloat, SpelledInt
from sessions.money import nano_of, usd_of

Default = TypeVar("Default")


def usd(section: Section, key: str, default: Default, *, least_nano: int, most_nano: int) -> int | Default:
    """An amount in dollars as whole nano-dollars, within bounds."""
    value = section.value.get(key)
    if value is None:
        return default
    bounds = f"from {usd_of(least_nano)} to {usd_of(most_nano)} dollars"
    if not isinstance(value, SpelledInt | SpelledFloat):
        section.fail(key, f"must be a number {bounds}, such as 0.50, without quotes")
    if value.spelling.startswith("-"):
        section.fail(key, f"must not be negative; it must be {bounds}")
    nano = nano_of(value.spelling)
    if nano is None:
        section.fail(key, f"must be a plain number {bounds}, with at most nine decimals")
    return nano if least_nano <= nano <= most_nano else section.fail(key, f"must be {bounds}, not {value.spelling}")
