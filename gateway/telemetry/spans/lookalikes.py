"""Characters that stand for the separators of numbers: other dashes, blanks and dots, wide forms, and invisible ones.

Each is replaced by one character, so that places in the text stay what they are.
"""

from __future__ import annotations

INVISIBLE = "\u200b"  # stands for each character that shows nothing

# Code points, with the ends of ranges.
_DASHES = ((0x2010, 0x2015), (0x2212, 0x2212), (0x2043, 0x2043), (0x02D7, 0x02D7), (0x058A, 0x058A), (0x05BE, 0x05BE),
           (0x1806, 0x1806), (0x2E3A, 0x2E3B), (0x301C, 0x301C), (0x3030, 0x3030), (0x30FC, 0x30FC), (0xFE58, 0xFE58),
           (0xFE63, 0xFE63), (0xFF70, 0xFF70), (0x2796, 0x2796))  # fmt: skip
_BLANKS = ((0x00A0, 0x00A0), (0x1680, 0x1680), (0x2000, 0x200A), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
           (0x2800, 0x2800), (0x3164, 0x3164))  # fmt: skip
_NOTHING = ((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x180B, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E),
            (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0x20E3, 0x20E3))  # fmt: skip
_DOTS = ((0x2022, 0x2022), (0x2024, 0x2024), (0x2027, 0x2027), (0x2219, 0x2219), (0x22C5, 0x22C5), (0x30FB, 0x30FB),
         (0xFF65, 0xFF65))  # fmt: skip
_SLASHES = ((0x2044, 0x2044), (0x2215, 0x2215))
_WIDE = range(0xFF01, 0xFF5F)  # the forms of ASCII from "!" to "~" that are as wide as Chinese signs

_ASCII_OF = {
    **{code: chr(code - 0xFEE0) for code in _WIDE},
    **{
        code: sign
        for sign, spans in (("-", _DASHES), (" ", _BLANKS), (INVISIBLE, _NOTHING), ("·", _DOTS), ("/", _SLASHES))
        for first, last in spans
        for code in range(first, last + 1)
    },
}


def plain(text: str) -> str:
    """The text, as long as it was, with each look-alike replaced by the ASCII character that it stands for."""
    return text if text.isascii() else text.translate(_ASCII_OF)
