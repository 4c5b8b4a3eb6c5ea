"""What is masked in texts, what is left alone, and that no text takes long."""

from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.spans.redaction import Redaction

REDACTION = Redaction()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("It is 4111111111111111, thanks", "It is [card], thanks"),
        ("4111 1111 1111 1111", "[card]"),
        ("4111-1111-1111-1111 until 12/27", "[card] until 12/27"),
        ("4 1 1 1, 1 1 1 1, 1 1 1 1, 1 1 1 1.", "[card]."),
        ("amex 378282246310005", "amex [card]"),
        ("٤١١١١١١١١١١١١١١١", "[card]"),
        ("cards 4111111111111111 5500005555555559", "cards [card] [card]"),
        ("card4111111111111112x", "card4111111111111112x"),
        ("call +49 30 1234567 today", "call [phone] today"),
        ("call (415) 555-0132", "call [phone]"),
        ("0171/1234567", "[phone]"),
        ("555-0132", "[phone]"),
        ("tel+4930123456", "tel[phone]"),
        ("+1.415.555.0132x12", "[phone]x12"),
        ("write to jane.doe+x@example.co.uk.", "write to [email]."),
        ("<ü@example.de>", "<[email]>"),
        ("a@b.c@d.e", "[email]@d.e"),
        ("DE89 3704 0044 0532 0130 00 please", "[iban] please"),
        ("gb82west12345698765432", "[iban]"),
        ("IBAN NL91-ABNA-0417-1643-00.", "IBAN [iban]."),
        # Digits that touch a number are masked with it.
        ("+491701555300600", "[card]"),
        ("4111111111111111 123 or 41111111111111114111111111111111", "[card] 123 or [card]"),
        # Within a web address, and within JSON in a text.
        ("x?a=1&mail=jane.doe%40example.com&b=2", "[email]&b=2"),
        ("x?tel=%2B4930123456&iban=%20DE89370400440532013000", "x?tel=%2B[phone]&iban=%20[iban]"),
        (r"a\n0171123456\u000a0171123456\tde89370400440532013000", r"a\n[phone]\u000a[phone]\t[iban]"),
    ],
)
def test_what_must_not_leave_is_masked(text: str, masked: str) -> None:
    assert REDACTION.text(text) == masked


SEPARATORS = [
    *"\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d\ufe63\u30fc\u00ad\u200b\u2060\ufeff\u00a0\u2009\u202f\u3000",
    *"*_\uff0e\uff0f\u2044\u30fb\u2022", "\u200b" * 9, "\u200b-\u200b \u200b", "\ufe0f\u20e3 ", "**",
]  # fmt: skip


@pytest.mark.parametrize("between", SEPARATORS)
def test_numbers_are_masked_whatever_stands_between_their_groups(between: str) -> None:
    card, phone = between.join(["4111", *["1111"] * 3]), between.join(["+49", "30", "1234", "567"])
    assert REDACTION.text(f"é {card}. then {phone} é") == "é [card]. then [phone] é"
    assert REDACTION.text("é " + between.join("4111111111111111")) == "é [card]"


@pytest.mark.parametrize("zero", ["\uff10", "٠", "०", "\U0001d7ce"])
def test_digits_of_other_scripts_are_masked(zero: str) -> None:
    digits = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")
    assert REDACTION.text(f"<{digits[:4]}\u2011{digits[4:]}> {digits[:8]}") == "<[card]> [phone]"


def test_wide_and_interrupted_addresses_are_masked_and_the_other_text_stays() -> None:
    assert REDACTION.text("ー１： jane＠example．org！") == "ー１： [email]！"
    assert REDACTION.text("ja\u00adne@exam\u200bple.org") == "[email]"
    assert REDACTION.text("DE89\u00a03704\u20110044\u200b\u200b\u200b0532 0130 00") == "[iban]"
    assert REDACTION.text("ＤＥ８９３７０４００４４０５３２０１３０００") == "[iban]"
    assert (
        REDACTION.text("from 2026\u201111\u201124, “x\u00a0–\u00a0y”") == "from 2026\u201111\u201124, “x\u00a0–\u00a0y”"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a table for 2 at 19:00 on 2026-11-24",
        "from 24.11.2026 to 26.11.2026",
        "2026-11-24T19:00:00",
        "1234.5678901",
        "room 412, floor 3",
        "call_1234567 and item_12345678",
        "123456",
        "@home and user@localhost",
        "DE12 is my room",
    ],
)
def test_other_words_and_numbers_are_left_alone(text: str) -> None:
    assert REDACTION.text(text) == text


def test_json_is_json_afterwards() -> None:
    given_text = orjson.dumps(
        {"card": 4111111111111111, "n": 3, "ok": True, "mail": ["a@b.de"], "jane@x.org": None, "price": 1234567.25}
    ).decode()
    assert orjson.loads(REDACTION.json(given_text)) == {
        "card": "[card]", "n": 3, "ok": True, "mail": ["[email]"], "[email]": None, "price": 1234567.25,
    }  # fmt: skip
    assert REDACTION.json('{"cut": "a@b.de') == '{"cut": "[email]'


def test_own_patterns_are_masked_first() -> None:
    assert Redaction([r"customer \d{7}"]).text("customer 1234567, 7654321") == "[redacted], [phone]"


def with_check_digit(digits: str) -> str:
    """A card number: these digits, and the one that makes its sum by Luhn's rule a multiple of ten."""
    doubled = [int(digit) * 2 for digit in digits[::-2]]
    total = sum(number - 9 if number > 9 else number for number in doubled) + sum(map(int, digits[-2::-2]))
    return digits + str(-total % 10)


def german_iban(digits: str) -> str:
    """An IBAN of these 18 digits."""
    return f"DE{98 - int(digits + '131400') % 97:02}{digits}"


def grouped(text: str, sizes: list[int], between: str) -> str:
    """A text in groups, as people write numbers."""
    parts, at = [], 0
    for size in sizes * len(text):
        parts.append(text[at : at + size])
        at += size
        if at >= len(text):
            break
    return between.join(parts)


_digits = st.characters(min_codepoint=48, max_codepoint=57)
_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
cards = st.builds(
    grouped,
    st.text(_digits, min_size=12, max_size=18).map(lambda digits: with_check_digit("4" + digits[1:])),
    _sizes,
    st.sampled_from(["", " ", "-", ", ", ".", " - "]),
)
ibans = st.builds(
    grouped, st.text(_digits, min_size=18, max_size=18).map(german_iban), st.just([4]), st.sampled_from(["", " ", "-"])
)
phones = st.builds(
    lambda country, number, sizes, between: country + grouped(number, sizes, between),
    st.sampled_from(["+49 ", "0049-", "(0) ", "0", "+1 (415) "]),
    st.text(_digits, min_size=7, max_size=10),
    _sizes,
    st.sampled_from(["", " ", "-", "/", "."]),
)
mails = st.from_regex(r"[a-z][a-z0-9._+-]{0,20}[a-z0-9]@[a-z0-9]{1,12}(\.[a-z]{2,6}){1,3}", fullmatch=True)
around = st.sampled_from(["", "My number is ", "so: ", "(", "“", "née ", "tel:"])
after = st.sampled_from(["", ", please.", ")", "”", " and then", "\n"])


def core(canary: str) -> str:
    """The signs of a canary without what stands between them."""
    return "".join(sign for sign in canary if sign.isalnum() or sign == "@")


@settings(max_examples=300)
@given(around, cards | ibans | phones | mails, after)
def test_no_number_or_address_is_left_however_it_is_written(before: str, canary: str, behind: str) -> None:
    masked = REDACTION.text(before + canary + behind)
    assert core(canary) not in core(masked)
    assert sum(map(str.isdigit, masked)) < 7 or "@" in canary


@given(st.text(st.sampled_from("0123456789 +-.@aDE(),")))
def test_any_text_is_masked_without_a_fault_and_masking_again_changes_nothing(text: str) -> None:
    masked = REDACTION.text(text)
    assert REDACTION.text(masked) == masked


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "a@",
        "@",
        "DE89",
        "DE89 ",
        "a.",
        "(+",
        "+1-",
        "4111 ",
        "12-",
        "1\u200b",
        "\u200b",
        "1" + "\u200b" * 500,
        "DE89\u200b",
        "\u200b@",
        "1\u2011",
    ],
)
def test_the_time_grows_with_the_length_only(piece: str) -> None:
    def cpu_s(length: int) -> float:
        text = (piece * length)[:length]
        begun = time.process_time()
        REDACTION.text(text)
        return time.process_time() - begun

    # Were it quadratic, ten times the text would take a hundred times as long; CPU of this process alone is counted.
    assert cpu_s(200_000) < 30 * cpu_s(20_000) + 0.2
