"""Tests for gateway/net/messages.py."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.net.messages import (
    Assembler,
    CloseCode,
    Message,
    PeerClosed,
    Violation,
    fit_reason,
    is_utf8,
    may_be_sent,
    read_close,
)

BOUND = 12


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True
    reserved: int = 0

    def copy(self) -> bytes:
        return self.payload


def take(assembler: Assembler, *frames: Frame) -> list[object]:
    """The results for the frames, without the Nones."""
    found = [assembler.take(f.opcode, f.fin, f.reserved, len(f.payload), f.copy) for f in frames]
    return [taken for taken in found if taken is not None]


def test_a_whole_frame_is_a_message() -> None:
    assert take(Assembler(BOUND), Frame(1, b"hi"), Frame(2, b"\xff")) == [Message(b"hi", True), Message(b"\xff", False)]


def test_fragments_are_joined_around_control_frames() -> None:
    frames = [
        Frame(1, b"a\xc3", fin=False),
        Frame(9, b"ping"),
        Frame(0, b"", fin=False),
        Frame(10, b""),
        Frame(0, b"\xbc"),
    ]
    assembler = Assembler(BOUND)
    assert take(assembler, *frames) == [Message("aü".encode(), True)]
    assert not assembler.joining
    assert take(assembler, Frame(2, b"", fin=False), Frame(0, b"")) == [Message(b"", False)]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(0, b"")], 1002),
        ([Frame(1, b"", fin=False), Frame(2, b"")], 1002),
        ([Frame(1, b"", reserved=1)], 1002),
        ([Frame(3, b"")], 1002),
        ([Frame(11, b"")], 1002),
        ([Frame(9, b"", fin=False)], 1002),
        ([Frame(10, b"x" * 126)], 1002),
        ([Frame(1, b"\xff")], 1007),
        ([Frame(1, b"\xc3", fin=False), Frame(0, b"")], 1007),
        ([Frame(2, b"x" * 13)], 1009),
        ([Frame(2, b"x" * 12, fin=False), Frame(0, b"x")], 1009),
    ],
)
def test_each_violation_has_its_close_code(frames: list[Frame], code: int) -> None:
    (found,) = take(Assembler(BOUND), *frames)
    assert isinstance(found, Violation)
    assert found.code == code


def test_a_message_that_is_too_big_is_not_copied() -> None:
    def copy() -> bytes:
        raise AssertionError("copied")

    assert isinstance(Assembler(BOUND).take(2, True, 0, 13, copy), Violation)


def test_frames_after_a_violation_or_a_close_are_ignored() -> None:
    for last in (Frame(0, b""), Frame(8, b"")):
        assembler = Assembler(BOUND)
        assert len(take(assembler, last)) == 1
        assert take(assembler, Frame(1, b"more"), Frame(8, b""), Frame(0, b"")) == []


def test_close_frames_are_read() -> None:
    assert read_close(b"") == PeerClosed(CloseCode.NO_CODE, "")
    assert read_close(b"\x03\xe8") == PeerClosed(1000, "")
    assert read_close(b"\x0f\xa0" + "tschüß".encode()) == PeerClosed(4000, "tschüß")
    assert read_close(b"\x03\xe8\xff") == Violation(1007, "the close reason is not UTF-8")
    for body in (b"\x03", b"\x00\x00", b"\x03\xec", b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x0b\xb7", b"\x13\x88"):
        assert read_close(body) == Violation(1002, "invalid close code")


@given(st.integers(0, 65535))
def test_close_codes_that_may_be_sent(code: int) -> None:
    allowed = set(range(1000, 1004)) | set(range(1007, 1015)) | set(range(3000, 5000))
    assert may_be_sent(code) == (code in allowed)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_reason_is_cut_at_a_character(reason: str) -> None:
    fitted = fit_reason(reason)
    assert reason.startswith(fitted)
    assert len(fitted.encode()) <= 123
    assert fitted == reason or len(fitted.encode()) >= 120


@pytest.mark.parametrize("good", [b"", b"abc", "ü€😀".encode(), b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf", b"\x00"])
def test_valid_utf8_is_accepted(good: bytes) -> None:
    assert is_utf8(good)


@pytest.mark.parametrize(
    "bad",
    [
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc3",
    ],
)
def test_invalid_utf8_is_refused(bad: bytes) -> None:
    assert not is_utf8(bad)


payloads = st.one_of(
    st.binary(max_size=8), st.sampled_from([b"", b"\xc3", b"\xbc", b"\x03\xe8", b"\x03\xed", b"x" * 12, b"x" * 126])
)
frames = st.builds(
    Frame,
    st.one_of(st.sampled_from([0, 1, 2]), st.integers(0, 15)),
    payloads,
    st.booleans(),
    st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1]),
)


@given(st.lists(frames, max_size=12))
def test_any_sequence_of_frames_follows_the_rfc(sequence: list[Frame]) -> None:
    """Compare with a second, simpler implementation of the RFC, which keeps all frames."""
    assembler = Assembler(BOUND)
    found = take(assembler, *sequence)
    assert found == expected(sequence)
    assert all(isinstance(taken, Message) for taken in found[:-1])
    for taken in found:
        if isinstance(taken, Message):
            assert len(taken.payload) <= BOUND
            assert not taken.is_text or taken.payload.decode() is not None


def expected(sequence: list[Frame]) -> list[object]:
    out: list[object] = []
    parts: list[Frame] = []
    for frame in sequence:
        code, reason = 0, ""
        if frame.reserved:
            code, reason = 1002, "reserved bits are set"
        elif frame.opcode >= 8 and (not frame.fin or len(frame.payload) > 125):
            code, reason = 1002, "a control frame is fragmented or too long"
        elif frame.opcode == 8:
            return [*out, read_close(frame.payload)]
        elif frame.opcode in (9, 10):
            continue
        elif frame.opcode > 2:
            code, reason = 1002, "unknown opcode"
        elif (frame.opcode == 0) != bool(parts):
            code, reason = 1002, "fragments are out of order"
        elif sum(len(part.payload) for part in [*parts, frame]) > BOUND:
            code, reason = 1009, "the message is too big"
        if code:
            return [*out, Violation(code, reason)]
        parts.append(frame)
        if frame.fin:
            whole = b"".join(part.payload for part in parts)
            is_text = parts[0].opcode == 1
            if is_text and "\ufffd" in whole.decode("utf-8", "replace") and whole.count(b"\xef\xbf\xbd") == 0:
                return [*out, Violation(1007, "the text is not UTF-8")]
            out.append(Message(whole, is_text))
            parts = []
    return out
