from __future__ import annotations

import pytest

from sessions.money import nano_of, usd_of


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("0.1", 100_000_000),
        ("0.50", 500_000_000),
        (".5", 500_000_000),
        ("5.", 5_000_000_000),
        ("0.000000001", 1),
        ("32.000000000000", 32_000_000_000),
        ("999999999999", 999_999_999_999_000_000_000),
    ],
)
def test_an_amount_is_read_exactly(text: str, nano: int) -> None:
    assert nano_of(text) == nano


@pytest.mark.parametrize(
    "text", ["", ".", "-1", "1e3", "0.0000000001", "1,5", "nan", "1 ", "１", "1000000000000", "0x1"]
)
def test_anything_else_is_no_amount(text: str) -> None:
    assert nano_of(text) is None


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (100_000_000, "0.1"),
        (2_500_000_000, "2.5"),
        (7_000_000_000, "7"),
        (-5, "-0.000000005"),
    ],
)
def test_an_amount_is_shown_without_needless_zeros(nano: int, text: str) -> None:
    assert usd_of(nano) == text
    assert nano < 0 or nano_of(text) == nano
