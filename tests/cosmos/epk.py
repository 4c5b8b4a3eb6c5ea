"""Effective partition keys: where in the key space an item lies, as `azure-cosmos` computes it for hashed keys (v2).

Each level of a key becomes 16 bytes, written as 32 upper-case hexadecimal digits: MurmurHash3 (x64, 128 bits) of the
value, high half first, with the two topmost bits cleared. The levels of a hierarchical key stand one after the other,
so all items of one tenant lie in `[hash, hash + "FF")`. Texts are compared as texts.
Source: the public-domain algorithm by Austin Appleby; layout as in `azure.cosmos.partition_key` 4.17.1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

Scalar = str | float | bool | None
Key = tuple[Scalar, ...]

MINIMUM = ""
MAXIMUM = "FF"
_MASK = (1 << 64) - 1
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A half-open run of effective partition keys."""

    start: str  # inclusive
    end: str  # exclusive

    def holds(self, epk: str) -> bool:
        """Whether an item with this effective key lies in the run."""
        return self.start <= epk < self.end


def physical_ranges(ranges: int | Sequence[str]) -> tuple[KeyRange, ...]:
    """Split the whole key space: into so many equal runs, or at the bounds given (hexadecimal, ascending)."""
    if isinstance(ranges, int):
        # The first byte of a hash is below 0x40.
        bounds = [f"{0x4000 * number // ranges:04X}" for number in range(1, ranges)]
    else:
        bounds = list(ranges)
    edges = [MINIMUM, *bounds, MAXIMUM]
    return tuple(KeyRange(start, end) for start, end in pairwise(edges))


def effective_key(key: Key) -> str:
    """The effective partition key of a whole key, or of a prefix of it."""
    return "".join(_level(type(value).__name__, value) for value in key)


def prefix_range(prefix: Key) -> KeyRange:
    """Where all items lie whose key begins with `prefix`."""
    start = effective_key(prefix)
    return KeyRange(start, start + MAXIMUM)


@lru_cache(maxsize=65_536)
def _level(kind: str, value: Scalar) -> str:
    """The hash of one value. `kind` keeps 1 and True apart in the cache."""
    high_low = bytearray(_murmur3(_encoded(value)))
    high_low.reverse()
    high_low[0] &= 0x3F
    return high_low.hex().upper()


def _encoded(value: Scalar) -> bytes:
    match value:
        case None:
            return b"\x01"
        case False:
            return b"\x02"
        case True:
            return b"\x03"
        case str():
            return b"\x08" + value.encode() + b"\xff"
        case _:
            return b"\x05" + struct.pack("<d", float(value))


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & _MASK
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & _MASK
    return value ^ (value >> 33)


def _murmur3(data: bytes) -> bytes:
    """MurmurHash3 x64 128 with seed 0: 16 bytes, little-endian halves, low half first."""
    one = two = 0
    whole = len(data) - len(data) % 16
    for start in range(0, whole, 16):
        first, second = struct.unpack_from("<QQ", data, start)
        one ^= (_rotated((first * _C1) & _MASK, 31) * _C2) & _MASK
        one = ((_rotated(one, 27) + two) * 5 + 0x52DCE729) & _MASK
        two ^= (_rotated((second * _C2) & _MASK, 33) * _C1) & _MASK
        two = ((_rotated(two, 31) + one) * 5 + 0x38495AB5) & _MASK
    first, second = struct.unpack("<QQ", data[whole:].ljust(16, b"\0"))
    two ^= (_rotated((second * _C2) & _MASK, 33) * _C1) & _MASK
    one ^= (_rotated((first * _C1) & _MASK, 31) * _C2) & _MASK
    one ^= len(data)
    two ^= len(data)
    one = (one + two) & _MASK
    two = (two + one) & _MASK
    one, two = _mixed(one), _mixed(two)
    one = (one + two) & _MASK
    two = (two + one) & _MASK
    return struct.pack("<QQ", one, two)
