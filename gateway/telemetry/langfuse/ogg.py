"""Gives an Ogg file the same serial number each time, so that the same sound is the same file.

The encoder draws a number at random for each file, and Langfuse knows a file by its hash: a call that is sent twice
would have two players. Source: RFC 3533, section 6; the checksum is a CRC-32 without reflection, from 0.
"""

from __future__ import annotations

import struct
from functools import lru_cache

SERIAL = 0x50424159
_POLYNOMIAL = 0x04C11DB7
_MASK = 0xFFFFFFFF
_HEADER_BYTES = 27
_SERIAL_AT, _CHECKSUM_AT, _SEGMENTS_AT = 14, 22, 26


def with_fixed_serial(file: bytearray) -> None:
    """Change the serial number in every page of a file with one stream. Raises ValueError for what is no Ogg file."""
    at = 0
    while at < len(file):
        if file[at : at + 4] != b"OggS" or at + _HEADER_BYTES > len(file):
            raise ValueError("not a page of an Ogg file")
        segments = file[at + _SEGMENTS_AT]
        lengths = file[at + _HEADER_BYTES : at + _HEADER_BYTES + segments]
        size = _HEADER_BYTES + segments + sum(lengths)
        old = bytes(file[at + _SERIAL_AT : at + _SERIAL_AT + 4])
        new = struct.pack("<I", SERIAL)
        (checksum,) = struct.unpack_from("<I", file, at + _CHECKSUM_AT)
        # The checksum of a sum is the sum of the checksums, so the page's content is not read: only the difference
        # counts, and how many bytes follow it.
        difference = int.from_bytes(old, "big") ^ int.from_bytes(new, "big")
        changed = _times(difference, _power(size - _SERIAL_AT))
        file[at + _SERIAL_AT : at + _SERIAL_AT + 4] = new
        struct.pack_into("<I", file, at + _CHECKSUM_AT, checksum ^ changed)
        at += size


def _times(one: int, other: int) -> int:
    """The product of two polynomials over two elements, modulo the checksum's."""
    product = 0
    while other:
        if other & 1:
            product ^= one
        one = ((one << 1) ^ _POLYNOMIAL) & _MASK if one >> 31 else one << 1
        other >>= 1
    return product


@lru_cache(maxsize=4096)
def _power(count: int) -> int:
    """x to the power of 8 times `count`, modulo the checksum's polynomial."""
    found, square, exponent = 1, 2, 8 * count
    while exponent:
        if exponent & 1:
            found = _times(found, square)
        square = _times(square, square)
        exponent >>= 1
    return found
