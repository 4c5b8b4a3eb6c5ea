"""Figures as a test compares them: by name and labels, a histogram as how many values it has and their sum."""

from __future__ import annotations

from gateway.telemetry.figures import Distribution, Figures
from gateway.telemetry.names import FAMILIES


def shown(figures: Figures, *prefixes: str) -> dict[str, float | tuple[int, float]]:
    """The series whose names begin with one of the prefixes, without those that are 0 or empty."""
    found: dict[str, float | tuple[int, float]] = {}
    for family in FAMILIES:
        if not family.name.startswith(prefixes or ("",)):
            continue
        for one in figures.series(family):
            name = f"{family.name}{list(one.labels)}" if one.labels else family.name
            if not isinstance(one.value, Distribution):
                if one.value:
                    found[name] = round(one.value, 6)
            elif count := int(one.value.buckets()[-1][1]):
                found[name] = (count, round(one.value.sum, 6))
    return found
